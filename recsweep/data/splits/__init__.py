"""The choices of `split=`: one file per protocol, named like its YAML in conf/split."""
