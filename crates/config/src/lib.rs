//! lanes.yaml: as written, validated, and turned into policy.
