"""From traffic to a plan."""
