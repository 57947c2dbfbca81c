"""The report of an experiment: a page that needs no network, and plots."""
