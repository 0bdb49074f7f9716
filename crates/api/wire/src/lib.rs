//! The JSON types and stream framing of the Docker Engine API.
