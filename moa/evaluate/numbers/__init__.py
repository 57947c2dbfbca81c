"""The numbers of an evaluation and their uncertainty: arrays in, figures out; nothing here asks a model."""
