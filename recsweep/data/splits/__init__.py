"""What `split=` names: one file per protocol, named like its YAML in conf/split."""
