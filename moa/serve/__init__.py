"""Ensembles behind the APIs that clients know: OpenAI's, Anthropic's, over HTTP."""
