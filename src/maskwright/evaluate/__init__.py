"""Scores, their uncertainty, and the report: from a model and a labelled set to a page to judge it by."""
