"""What `task=` can do: one file per task, named like its YAML in conf/task."""
