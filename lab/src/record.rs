//! A lab's record of itself: what it was brought up as.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use crate::error::{Error, file_error};
use crate::spec::LabSpec;

/// The record of one lab, which need not be there.
#[derive(Debug)]
pub(crate) struct Record {
    lab: String,
    file: PathBuf,
}

impl Record {
    /// The record in a lab's folder.
    pub(crate) fn new(lab: &str, folder: &Path) -> Self {
        Self { lab: lab.to_owned(), file: folder.join("lab.json") }
    }

    pub(crate) fn read(&self) -> Result<Option<LabSpec>, Error> {
        match fs::read_to_string(&self.file) {
            Ok(text) => serde_json::from_str(&text).map(Some).map_err(|error| Error::BadState {
                name: self.lab.clone(),
                path: self.file.clone(),
                reason: error.to_string(),
            }),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(file_error("cannot read", &self.file)(error)),
        }
    }

    /// Reads a record that must be there.
    pub(crate) fn require(&self) -> Result<LabSpec, Error> {
        self.read()?.ok_or_else(|| Error::NotUp { name: self.lab.clone() })
    }

    /// Writes it so that it is there whole or not at all.
    pub(crate) fn write(&self, spec: &LabSpec) -> Result<(), Error> {
        let write = |text: String| muster_files::write_whole(&self.file, None, &mut text.as_bytes());
        let text = serde_json::to_string_pretty(spec).map_err(io::Error::other);
        text.and_then(write).map_err(file_error("cannot write", &self.file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_read_back_and_a_broken_one_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let record = Record::new("x", folder.path());
        assert_eq!(record.read().unwrap(), None);
        assert!(matches!(record.require(), Err(Error::NotUp { name }) if name == "x"));
        record.write(&LabSpec::default()).unwrap();
        assert_eq!(record.require().unwrap(), LabSpec::default());
        fs::write(folder.path().join("lab.json"), "{").unwrap();
        assert!(matches!(record.read(), Err(Error::BadState { .. })));
    }
}
