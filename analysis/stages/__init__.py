"""The verbs: each reads what was done before, works, keeps its facts in files and indexes them."""
