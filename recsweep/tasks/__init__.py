"""The choices of `task=`: one file per task, named like its YAML in conf/task."""
