//! Joins the features of shared third-party crates (see `Cargo.toml`); holds no code.
