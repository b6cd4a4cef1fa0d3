"""A command of the command line whose package nobody has."""

import a_package_that_nobody_has  # type: ignore[import-not-found] # which is what this is about

plan = a_package_that_nobody_has.plan
