"""A zoo.toml and the folder where its facts are kept: the study, its lock and its catalogue."""
