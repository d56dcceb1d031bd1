//! A finished benchmark to text, JSON, CSV and a page of HTML.

pub mod csv;
mod figures;
pub mod html;
mod table;
pub mod text;

use serde::Serialize;

/// A document as indented JSON with a newline at its end.
pub fn json(document: &impl Serialize) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec_pretty(document)?;
    bytes.push(b'\n');
    Ok(bytes)
}
