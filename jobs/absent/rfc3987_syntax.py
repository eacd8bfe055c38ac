"""Stands in Ray's processes for the package of this name, which Jupyter brings, so that it looks absent.

Ray imports jsonschema, which imports this package where it is there: a second and a half in every process, for a check
of addresses that Ray never makes.
"""

raise ImportError
