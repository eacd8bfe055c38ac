"""Semantic operators: what runs a part of a select from the driver, tables in and tables out, one file each."""
