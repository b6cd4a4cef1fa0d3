"""Stand-ins for model servers: they speak like vLLM and take the time a GPU would, but generate filler words."""
