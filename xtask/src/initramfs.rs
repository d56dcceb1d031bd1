//! Writing initramfs archives. The kernel accepts several in one file, one after another.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use cpio::newc;

/// File type bits of a cpio entry's mode.
const FOLDER: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_000;
/// A next archive starts at a multiple of this.
const ALIGNMENT: usize = 4;

/// An archive in the making. Folders above an entry are added by themselves; a second entry of the same name is
/// left out.
pub struct Archive {
    out: BufWriter<File>,
    names: BTreeSet<String>,
    written: usize,
}

impl Archive {
    /// Starts an archive at this path.
    pub fn create(path: &Path) -> Result<Self> {
        let file =
            File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self {
            out: BufWriter::new(file),
            names: BTreeSet::new(),
            written: 0,
        })
    }

    /// Adds a folder.
    pub fn folder(&mut self, name: &str) -> Result<()> {
        self.entry(name, FOLDER | 0o755, &[])
    }

    /// Adds a file with these contents.
    pub fn file(&mut self, name: &str, mode: u32, contents: &[u8]) -> Result<()> {
        self.entry(name, FILE | mode, contents)
    }

    /// Adds a symbolic link.
    pub fn link(&mut self, name: &str, target: &str) -> Result<()> {
        self.entry(name, LINK | 0o777, target.as_bytes())
    }

    /// Adds a file of the host, or what it links to, with its permissions.
    pub fn copy(&mut self, from: &Path, name: &str) -> Result<()> {
        let error = || format!("cannot read {}", from.display());
        let mode = fs::metadata(from).with_context(error)?.permissions().mode() & 0o777;
        let contents = fs::read(from).with_context(error)?;
        self.file(name, mode, &contents)
    }

    /// Adds a folder of the host with everything in it.
    pub fn tree(&mut self, from: &Path, name: &str) -> Result<()> {
        self.folder(name)?;
        let entries =
            fs::read_dir(from).with_context(|| format!("cannot read {}", from.display()))?;
        let mut paths = entries
            .map(|entry| Ok(entry?.path()))
            .collect::<Result<Vec<_>>>()?;
        paths.sort();
        for path in paths {
            let name = format!(
                "{name}/{}",
                path.file_name().unwrap_or_default().to_string_lossy()
            );
            if path.is_dir() {
                self.tree(&path, &name)?;
            } else {
                self.copy(&path, &name)?;
            }
        }
        Ok(())
    }

    fn entry(&mut self, name: &str, mode: u32, contents: &[u8]) -> Result<()> {
        let name = name.trim_matches('/');
        if name.is_empty() || self.names.contains(name) {
            return Ok(());
        }
        if let Some((parent, _)) = name.rsplit_once('/') {
            self.folder(parent)?;
        }
        self.names.insert(name.to_owned());
        // Numbers of one's own: entries that share one are taken for hard links.
        let builder = newc::Builder::new(name)
            .mode(mode)
            .nlink(1)
            .ino(u32::try_from(self.names.len())?);
        let mut bytes = Vec::with_capacity(contents.len() + 256);
        let mut writer = builder.write(&mut bytes, u32::try_from(contents.len())?);
        writer.write_all(contents)?;
        writer.finish()?;
        self.write(&bytes)
    }

    /// Ends the archive.
    pub fn finish(mut self) -> Result<()> {
        let bytes = newc::trailer(Vec::new())?;
        self.write(&bytes)?;
        let padding = self.written.next_multiple_of(ALIGNMENT) - self.written;
        self.write(&[0; ALIGNMENT][..padding])?;
        self.out.flush()?;
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.out
            .write_all(bytes)
            .context("cannot write the initramfs")?;
        self.written += bytes.len();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    fn entries(path: &Path) -> Vec<(String, u32, String)> {
        let mut file = File::open(path).unwrap();
        let mut all = Vec::new();
        loop {
            let mut reader = newc::Reader::new(file).unwrap();
            if reader.entry().is_trailer() {
                return all;
            }
            let (name, mode) = (reader.entry().name().to_owned(), reader.entry().mode());
            let mut contents = String::new();
            reader.read_to_string(&mut contents).unwrap();
            all.push((name, mode, contents));
            file = reader.finish().unwrap();
        }
    }

    #[test]
    fn writes_what_it_is_given_and_the_folders_above() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("archive");
        let mut archive = Archive::create(&path).unwrap();
        archive.file("/bin/tool", 0o755, b"abc").unwrap();
        archive.file("bin/tool", 0o755, b"again").unwrap();
        archive.link("bin/sh", "tool").unwrap();
        archive.finish().unwrap();
        let expected = [
            ("bin", 0o040_755, ""),
            ("bin/tool", 0o100_755, "abc"),
            ("bin/sh", 0o120_777, "tool"),
        ];
        let expected = expected.map(|(name, mode, text)| (name.to_owned(), mode, text.to_owned()));
        assert_eq!(entries(&path), expected);
        assert_eq!(fs::metadata(&path).unwrap().len() % 4, 0);
    }
}
