//! The JSON schemas of the documents, made from their types.

use schemars::{JsonSchema, generate::SchemaSettings};
use serde_json::Value;

use super::{ProbeTable, bench, model::Report};

/// The report's schema, in JSON Schema's draft 2020-12.
pub fn schema() -> Value {
    of::<Report>()
}

/// That of the table of attach points.
pub fn probes() -> Value {
    of::<ProbeTable>()
}

/// That of a benchmark.
pub fn benchmark() -> Value {
    of::<bench::Document>()
}

/// That of a comparison of two benchmarks.
pub fn comparison() -> Value {
    of::<bench::Comparison>()
}

fn of<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().for_serialize();
    settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value()
}

#[cfg(test)]
mod tests {
    use std::{env, fs, path::PathBuf};

    use serde_json::Value;

    use super::{benchmark, comparison, probes, schema};

    /// With `UPDATE_SCHEMA=1` in the environment, the file is written instead of compared.
    fn check(file: &str, schema: &Value) {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        let path = root.join("../docs").join(file);
        let expected = format!("{schema:#}\n");
        if env::var_os("UPDATE_SCHEMA").is_some() {
            fs::write(&path, &expected).unwrap();
        }
        let documented = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            documented == expected,
            "docs/{file} is not the schema of the types: \
             run the tests with UPDATE_SCHEMA=1 and look at what changed"
        );
    }

    #[test]
    fn the_documented_schema_is_that_of_the_types() {
        check("report.schema.json", &schema());
        check("probes.schema.json", &probes());
        check("bench.schema.json", &benchmark());
        check("bench-compare.schema.json", &comparison());
    }
}
