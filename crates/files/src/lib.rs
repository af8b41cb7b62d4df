//! Files of this computer that are there whole or not at all.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

/// Writes a file in place of the one that may be there. Whoever reads meanwhile, and whoever looks after a power cut, sees the
/// old one or the new one and never a part (rename(2)). Its folder must be there.
///
/// `mode` is set whatever the umask is; `None` is the mode that the umask gives a new file.
///
/// # Errors
/// `content` cannot be read or the file cannot be written; then the old one stays as it was.
pub fn write_whole(path: &Path, mode: Option<u32>, content: &mut dyn Read) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    name.push(format!(".{}", std::process::id()));
    let unfinished = folder.join(name);
    // What a killed process of the same number left may have another mode.
    match fs::remove_file(&unfinished) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut write = || {
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(mode.unwrap_or(0o666)).open(&unfinished)?;
        if let Some(mode) = mode {
            file.set_permissions(Permissions::from_mode(mode))?;
        }
        io::copy(content, &mut file)?;
        file.sync_all()?;
        fs::rename(&unfinished, path)?;
        // A name lasts only when the folder that holds it is on disk.
        File::open(folder)?.sync_all()
    };
    write().inspect_err(|_| drop(fs::remove_file(&unfinished)))
}

/// Changes what a file of the user's holds, whole or not at all: its mode and, where that may be done, its owner stay; and where its
/// name is a link, the file that it leads to is changed.
///
/// # Errors
/// There is no such file, or it cannot be written; then it stays as it was.
pub fn rewrite(path: &Path, content: &str) -> io::Result<()> {
    let path = path.canonicalize()?;
    let before = fs::metadata(&path)?;
    write_whole(&path, Some(before.mode() & 0o7777), &mut content.as_bytes())?;
    // Only root may give files away; who is not root changes files of one's own.
    chown(&path, Some(before.uid()), Some(before.gid())).or_else(|error| match error.kind() {
        io::ErrorKind::PermissionDenied => Ok(()),
        _ => Err(error),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_with_the_mode_that_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        fs::write(&path, "old").unwrap();
        let leftover = dir.path().join(format!(".secret.{}", std::process::id()));
        fs::write(&leftover, "of a killed process").unwrap();
        for mode in [0o600, 0o777] {
            write_whole(&path, Some(mode), &mut &b"new"[..]).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"new");
            assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o7777, mode);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else stays");
    }

    #[test]
    fn a_file_of_the_users_keeps_its_mode_and_its_place() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("hosts.ini"), dir.path().join("link.ini"));
        std::os::unix::fs::symlink("hosts.ini", &link).unwrap();
        rewrite(&link, "new").unwrap_err();
        for mode in [0o600, 0o664] {
            fs::write(&file, "old").unwrap();
            fs::set_permissions(&file, Permissions::from_mode(mode)).unwrap();
            rewrite(&link, "new").unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), "new");
            assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, mode);
            assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        }
    }

    #[test]
    fn what_could_not_be_read_to_its_end_replaces_nothing() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "old").unwrap();
        write_whole(&path, None, &mut b"half".chain(Broken)).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else stays");
    }
}
