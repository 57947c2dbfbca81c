"""A model in this process, run by vLLM; nothing here imports vLLM before the first request."""
