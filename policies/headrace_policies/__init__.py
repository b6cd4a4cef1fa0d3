"""The Headrace policy pack."""
