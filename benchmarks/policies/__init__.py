"""How long the policy pack takes."""
