//! The files of a model machine: names, what they name, and what of it is on the disk for good.

use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    Dir(u32),
    File(u64),
    Link(String),
}

#[derive(Debug, Clone)]
pub struct Inode {
    pub content: Vec<u8>,
    pub mode: u32,
    pub mtime: u64,
    /// Whether the content survives a power cut. Names always do, as in a file system with a journal.
    pub flushed: bool,
}

#[derive(Debug)]
pub struct Disk {
    entries: BTreeMap<String, Entry>,
    inodes: BTreeMap<u64, Inode>,
    next: u64,
}

impl Default for Disk {
    /// Inodes have numbers as they have on real disks.
    fn default() -> Self {
        Self { entries: BTreeMap::new(), inodes: BTreeMap::new(), next: 1_000_000 }
    }
}

impl Clone for Disk {
    /// Without the files that nothing names any more.
    fn clone(&self) -> Self {
        let named: BTreeSet<u64> = self.entries.values().filter_map(Entry::inode).collect();
        let inodes = self.inodes.iter().filter(|(number, _)| named.contains(number));
        Self {
            entries: self.entries.clone(),
            inodes: inodes.map(|(n, i)| (*n, i.clone())).collect(),
            next: self.next,
        }
    }
}

impl Entry {
    fn inode(&self) -> Option<u64> {
        if let Entry::File(number) = self { Some(*number) } else { None }
    }
}

/// Why something could not be done, as commands say it.
pub type Refused = &'static str;

pub fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

impl Disk {
    /// What is at a path, links not followed.
    pub fn entry(&self, path: &str) -> Option<&Entry> {
        static ROOT: Entry = Entry::Dir(0o755);
        let path = path.trim_end_matches('/');
        if path.is_empty() { Some(&ROOT) } else { self.entries.get(path) }
    }

    /// The path behind a link.
    pub fn resolve(&self, path: &str) -> String {
        match self.entry(path) {
            Some(Entry::Link(target)) if target.starts_with('/') => target.clone(),
            Some(Entry::Link(target)) => format!("{}/{target}", parent(path)),
            _ => path.to_owned(),
        }
    }

    pub fn exists(&self, path: &str) -> bool {
        self.entry(&self.resolve(path)).is_some()
    }

    pub fn is_dir(&self, path: &str) -> bool {
        matches!(self.entry(&self.resolve(path)), Some(Entry::Dir(_)))
    }

    pub fn number(&self, path: &str) -> Option<u64> {
        self.entry(&self.resolve(path)).and_then(Entry::inode)
    }

    pub fn file(&self, path: &str) -> Option<&Inode> {
        self.number(path).and_then(|number| self.inodes.get(&number))
    }

    pub fn inode(&self, number: u64) -> &Inode {
        &self.inodes[&number]
    }

    pub fn change(&mut self, number: u64) -> &mut Inode {
        self.inodes.get_mut(&number).expect("an open file has an inode")
    }

    /// The names in a folder.
    pub fn names<'d>(&'d self, folder: &str) -> impl Iterator<Item = &'d str> + use<'d> {
        let prefix = format!("{}/", folder.trim_end_matches('/'));
        let length = prefix.len();
        let below =
            self.entries.range(prefix.clone()..).take_while(move |(path, _)| path.starts_with(&prefix));
        below.map(move |(path, _)| &path[length..]).filter(|name| !name.contains('/'))
    }

    /// Everything, in order.
    pub fn all(&self) -> impl Iterator<Item = (&str, &Entry)> {
        self.entries.iter().map(|(path, entry)| (path.as_str(), entry))
    }

    /// A new file, or the one that is there.
    pub fn open(&mut self, path: &str, mode: u32, now: u64) -> Result<u64, Refused> {
        let path = self.resolve(path);
        if let Some(number) = self.number(&path) {
            return Ok(number);
        }
        if self.is_dir(&path) {
            return Err("Is a directory");
        }
        self.next += 1;
        let number = self.next;
        self.enter(&path, Entry::File(number))?;
        self.inodes.insert(number, Inode { content: Vec::new(), mode, mtime: now, flushed: false });
        Ok(number)
    }

    /// Names something that has no name yet.
    pub fn enter(&mut self, path: &str, entry: Entry) -> Result<(), Refused> {
        if !self.is_dir(parent(path)) {
            return Err("No such file or directory");
        }
        if self.entry(path).is_some() {
            return Err("File exists");
        }
        self.entries.insert(path.to_owned(), entry);
        Ok(())
    }

    pub fn rename(&mut self, from: &str, to: &str) -> Result<(), Refused> {
        let Some(entry) = self.entry(from).cloned() else { return Err("No such file or directory") };
        if !self.is_dir(parent(to)) {
            return Err("No such file or directory");
        }
        if matches!(self.entry(to), Some(Entry::Dir(_))) {
            return Err("Is a directory");
        }
        if matches!(entry, Entry::Dir(_)) {
            let prefix = format!("{from}/");
            let inside: Vec<_> = self.entries.keys().filter(|p| p.starts_with(&prefix)).cloned().collect();
            for path in inside {
                let entry = self.entries.remove(&path).expect("just listed");
                self.entries.insert(format!("{to}/{}", &path[prefix.len()..]), entry);
            }
        }
        self.entries.remove(from);
        self.entries.insert(to.to_owned(), entry);
        Ok(())
    }

    /// Removes a file, a link, or an empty folder.
    pub fn remove(&mut self, path: &str) -> Result<(), Refused> {
        if self.names(path).next().is_some() {
            return Err("Directory not empty");
        }
        self.entries.remove(path).map(drop).ok_or("No such file or directory")
    }

    pub fn remove_all(&mut self, path: &str) {
        let prefix = format!("{path}/");
        self.entries.retain(|name, _| name != path && !name.starts_with(&prefix));
    }

    pub fn set_mode(&mut self, path: &str, mode: u32) -> Result<(), Refused> {
        let path = self.resolve(path);
        if let Some(number) = self.number(&path) {
            self.change(number).mode = mode;
            return Ok(());
        }
        match self.entries.get_mut(&path) {
            Some(Entry::Dir(old)) => *old = mode,
            _ => return Err("No such file or directory"),
        }
        Ok(())
    }

    /// Everything that was written is on the disk, as after `sync` without a path.
    pub fn flush(&mut self) {
        for inode in self.inodes.values_mut() {
            inode.flushed = true;
        }
    }

    /// Of what was not flushed, a part is lost: `keep` says how much of so many bytes is left.
    pub fn power_cut(&mut self, mut keep: impl FnMut(usize) -> usize) {
        for inode in self.inodes.values_mut().filter(|inode| !inode.flushed) {
            let kept = keep(inode.content.len());
            inode.content.truncate(kept);
            inode.flushed = true;
        }
    }
}
