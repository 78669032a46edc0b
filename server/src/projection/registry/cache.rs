//! Schemas kept on disk: ids are for ever, within one registry.

use projection::config::Registry;
use projection::schema::{SchemaId, SchemaText};
use serde_json::{Value, json};
use std::fs;
use std::io::{self, Write};
use std::path::PathBuf;

/// Where a schema is kept. Another registry has other ids: its address is part of the path.
fn path(registry: &Registry, id: SchemaId) -> Option<PathBuf> {
    let dir = registry.cache_dir.as_ref()?;
    let address = registry.url.first()?;
    let plain = |c: char| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' };
    let name: String = address.rsplit_once('@').map_or(&**address, |(_, rest)| rest).chars().map(plain).collect();
    Some(dir.join(name).join(format!("{id}.json")))
}

/// A schema that is kept.
pub fn read(registry: &Registry, id: SchemaId) -> Option<SchemaText> {
    let kept: Value = serde_json::from_slice(&fs::read(path(registry, id)?).ok()?).ok()?;
    let text = kept.get("schema")?.as_str()?.to_owned();
    let references = kept.get("references")?.as_array()?.iter().map(|text| text.as_str().map(str::to_owned));
    Some(SchemaText { text, references: references.collect::<Option<_>>()?, reader: None })
}

/// Keeps a schema; where that cannot be, it is fetched again next time.
pub fn write(registry: &Registry, id: SchemaId, schema: &SchemaText) {
    let Some(path) = path(registry, id) else { return };
    let kept = json!({"schema": schema.text, "references": schema.references});
    let write = || -> io::Result<()> {
        let dir = path.parent().ok_or(io::ErrorKind::NotFound)?;
        fs::create_dir_all(dir)?;
        // By rename: nobody reads half of one.
        let fresh = path.with_extension(format!("{}.new", std::process::id()));
        let mut file = fs::File::create(&fresh)?;
        file.write_all(kept.to_string().as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)
    };
    if let Err(error) = write() {
        tracing::warn!(path = %path.display(), %error, "a schema could not be kept");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_read_by_its_registry_alone() {
        let dir = std::env::temp_dir().join(format!("millpond-schemas-{}", std::process::id()));
        let registry =
            |url: &str| -> Registry { serde_json::from_value(json!({"url": [url], "cache_dir": dir})).unwrap() };
        let (one, other) = (registry("http://u:p@one:8081/api"), registry("http://other:8081"));
        let [seven, eight] = [7, 8].map(SchemaId::Number);
        let schema = SchemaText { text: "\"int\"".into(), references: vec!["\"long\"".into()], reader: None };
        assert_eq!(read(&one, seven), None);
        write(&one, seven, &schema);
        assert_eq!((read(&one, seven), read(&one, eight), read(&other, seven)), (Some(schema.clone()), None, None));
        assert!(!path(&one, seven).unwrap().display().to_string().contains("u_p"), "no login in a path");
        // Half a file is none.
        fs::write(path(&one, seven).unwrap(), "{\"schema\": \"").unwrap();
        assert_eq!(read(&one, seven), None);
        write(&one, seven, &schema);
        assert_eq!(read(&one, seven), Some(schema));
        fs::remove_dir_all(dir).unwrap();
    }
}
