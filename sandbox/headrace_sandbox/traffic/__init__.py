"""What a replay of traffic runs on: the router under the sandbox's clock and names, in front of model servers."""
