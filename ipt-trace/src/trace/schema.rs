//! The JSON schema of the lines of a trace, made from its types.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::event::Line;

/// The schema, in JSON Schema's draft 2020-12.
pub fn schema() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings
        .into_generator()
        .into_root_schema_for::<Line<'static>>()
        .to_value()
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf};

    use super::schema;

    /// With `UPDATE_SCHEMA=1` in the environment, the file is written instead of compared.
    #[test]
    fn the_documented_schema_is_that_of_the_types() {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("../docs/trace.schema.json");
        let expected = format!("{:#}\n", schema());
        if env::var_os("UPDATE_SCHEMA").is_some() {
            fs::write(&path, &expected).unwrap();
        }
        let documented = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            documented == expected,
            "docs/trace.schema.json is not the schema of the types: \
             run the tests with UPDATE_SCHEMA=1 and look at what changed"
        );
    }
}
