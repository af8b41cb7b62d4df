//! Commands that only look.

use sha2::{Digest, Sha256};

use super::commands::OWNER;
use super::disk::Entry;
use super::shell::{Done, Shell};

/// What is read, written.
pub(super) async fn copy(shell: &mut Shell) -> Done {
    loop {
        let piece = shell.read(0).await?;
        if piece.is_empty() {
            return Ok(0);
        }
        if !shell.write(1, &piece)? {
            return Ok(1);
        }
    }
}

pub(super) async fn look(
    shell: &mut Shell,
    name: &str,
    words: &[&str],
    options: &[&str],
    paths: &[&str],
) -> Done {
    let (machine, placed) = (shell.machine.clone(), |path: &str| shell.absolute(path).into_owned());
    let file = |path: &str| machine.state().kept.disk.file(&placed(path)).map(|file| file.content.clone());
    let mut out = Vec::new();
    let mut status = 0;
    match name {
        "cat" if paths.is_empty() => return copy(shell).await,
        "cat" => {
            for path in paths {
                match file(path) {
                    Some(content) => out.extend(content),
                    None => status = 1,
                }
            }
        }
        "tr" => {
            let byte = |word: &str| if word == r"\n" { b'\n' } else { word.as_bytes()[0] };
            let (from, to) = (byte(words[0]), byte(words[1]));
            out = shell.read(0).await?;
            out.iter_mut().filter(|byte| **byte == from).for_each(|byte| *byte = to);
        }
        "wc" if options == ["-l"] => {
            let lines = shell.read(0).await?.iter().filter(|byte| **byte == b'\n').count();
            out = format!("{lines}\n").into_bytes();
        }
        "wc" => out = format!("{}\n", shell.read(0).await?.len()).into_bytes(),
        "sha256sum" if options == ["-c"] => {
            let list = match paths.first() {
                Some(path) => file(path).unwrap_or_default(),
                None => shell.read(0).await?,
            };
            status = i32::from(list.is_empty());
            let list = String::from_utf8_lossy(&list).into_owned();
            for (wanted, path) in list.lines().filter_map(|line| line.split_once("  ")) {
                let content = shell.machine.state().kept.disk.file(path).map(|file| file.content.clone());
                let well = content.is_some_and(|content| sha256(&content) == wanted);
                out.extend(format!("{path}: {}\n", if well { "OK" } else { "FAILED" }).into_bytes());
                status |= i32::from(!well);
            }
        }
        "sha256sum" => {
            for path in paths {
                match file(path) {
                    Some(content) => out.extend(format!("{}  {path}\n", sha256(&content)).into_bytes()),
                    None => status = 1,
                }
            }
        }
        "tail" if words.len() == 2 && options == ["-n"] => {
            let text = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let most = words[1].parse().unwrap_or(0);
            out = lines[lines.len().saturating_sub(most)..].concat().into_bytes();
        }
        "tail" => match (words[0], words[1], file(words[2])) {
            (_, _, None) => status = 1,
            ("-c", "1", Some(content)) => out.extend(content.last()),
            ("-c", from, Some(content)) if from.starts_with('+') => {
                let from: usize = from[1..].parse().unwrap_or(1);
                out.extend(content.iter().skip(from - 1));
            }
            ("-n", "1", Some(content)) => {
                let text = content.strip_suffix(b"\n").unwrap_or(&content);
                let begin = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                out.extend(&content[begin..]);
            }
            _ => shell.wrong(&format!("tail {words:?}")),
        },
        "readlink" if options == ["-f"] => {
            let state = shell.machine.state();
            let disk = &state.kept.disk;
            let path = disk.resolve(&placed(paths[0]));
            match disk.is_dir(super::disk::parent(&path)) {
                true => out = format!("{path}\n").into_bytes(),
                false => status = 1,
            }
        }
        "readlink" => match shell.machine.state().kept.disk.entry(paths[0]) {
            Some(Entry::Link(target)) => out = format!("{target}\n").into_bytes(),
            _ => status = 1,
        },
        "stat" => {
            let paths = words[2..].strip_prefix(&["--"]).unwrap_or(&words[2..]);
            for path in paths {
                match stat(shell, words[1], path) {
                    Some(line) => out.extend(line.into_bytes()),
                    None => status = 1,
                }
            }
        }
        "head" if options == ["-c"] => {
            out = shell.read(0).await?;
            out.truncate(words[1].parse().unwrap_or(0));
        }
        "head" if options == ["-n"] && paths.len() == 1 => {
            let text = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
            let most = words[1].parse().unwrap_or(0);
            out = text.split_inclusive('\n').take(most).collect::<String>().into_bytes();
        }
        // What is asked for facts. The roles of these tests use none but the boot's id.
        "head" => {
            for path in &paths[1..] {
                let text = shell
                    .machine
                    .proc_file(path)
                    .or_else(|| Some(String::from_utf8_lossy(&file(path)?).into()));
                match text {
                    Some(text) => out.extend(format!("\n==> {path} <==\n{text}").into_bytes()),
                    None => status = 1,
                }
            }
        }
        "grep" if words.len() == 1 && words[0].starts_with('^') => {
            let text = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
            let found = text.lines().filter(|line| line.starts_with(&words[0][1..]));
            out = found.map(|line| format!("{line}\n")).collect::<String>().into_bytes();
            status = i32::from(out.is_empty());
        }
        "grep" if words[0] == "-qv" => {
            let text = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
            status = i32::from(text.lines().all(|line| line.contains(words[1])));
        }
        "grep" if words == ["-q", "."] => status = i32::from(shell.read(0).await?.is_empty()),
        "grep" if words[..2] == ["-qxF", "-e"] => {
            let text = String::from_utf8_lossy(&file(words[3]).unwrap_or_default()).into_owned();
            status = i32::from(!text.lines().any(|line| line == words[2]));
        }
        "grep" if words[0] == "-qsxF" => {
            let text = String::from_utf8_lossy(&file(words[2]).unwrap_or_default()).into_owned();
            status = i32::from(!text.lines().any(|line| line == words[1]));
        }
        "grep" if words[0] == "-qs" => {
            let text = String::from_utf8_lossy(&file(words[2]).unwrap_or_default()).into_owned();
            let wanted = words[1].replace(r"\.", ".");
            let found = match wanted.strip_prefix('^') {
                Some(begin) => text.lines().any(|line| line.starts_with(begin)),
                None => text.contains(&wanted),
            };
            status = i32::from(!found);
        }
        "grep" if words.len() == 2 && words[0] == "-qF" => {
            let text = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
            status = i32::from(!text.contains(words[1]));
        }
        "grep" if words[..2] == ["-vxF", "-e"] => {
            let text = String::from_utf8_lossy(&file(words[3]).unwrap_or_default()).into_owned();
            let others = text.lines().filter(|line| *line != words[2]);
            out = others.map(|line| format!("{line}\n")).collect::<String>().into_bytes();
            status = i32::from(out.is_empty());
        }
        "grep" if words == ["-c", "^Remv "] => {
            let text = shell.read(0).await?;
            let count = text.split(|byte| *byte == b'\n').filter(|line| line.starts_with(b"Remv ")).count();
            (out, status) = (format!("{count}\n").into_bytes(), i32::from(count == 0));
        }
        "grep" => status = 2,
        "pwd" => match &shell.folder {
            Some(folder) if words == ["-P"] => {
                out = format!("{}\n", if folder.is_empty() { "/" } else { folder }).into_bytes()
            }
            _ => shell.wrong(&format!("pwd {words:?}")),
        },
        "ls" if shell.machine.state().kept.disk.is_dir(&placed(paths[0])) => {
            let names = shell.machine.names(&placed(paths[0]));
            out = names.iter().map(|name| format!("{name}\n")).collect::<String>().into_bytes();
        }
        "ls" => status = 2,
        "seq" => {
            let last = words[0].parse().unwrap_or(0);
            out = (1..=last).map(|number: u32| format!("{number}\n")).collect::<String>().into_bytes();
        }
        // Its interfaces, where a test has written down what is said of them.
        "ip" if options == ["-o"] && paths.get(1) == Some(&"show") => {
            match file(&format!("/proc/net/ip-{}", paths[0])) {
                Some(content) => out = content,
                None => status = 1,
            }
        }
        // The address of an interface from a program.
        "ip" if options == ["-o", "-4"] && paths.len() == 4 && paths[..3] == ["addr", "show", "dev"] => {
            let programs = shell.machine.nature.programs.as_ref();
            match programs.and_then(|programs| programs.address_of(&shell.machine, paths[3])) {
                Some(address) => {
                    let text = format!("3: {0}    inet {address}/32 scope global {0}\n", paths[3]);
                    out = text.into_bytes();
                }
                None => status = 1,
            }
        }
        // Whether it has an address: one from a program.
        "ip" if options == ["-o", "-4"] && paths[..3] == ["addr", "show", "to"] => {
            let programs = shell.machine.nature.programs.as_ref();
            let more = programs.map(|programs| programs.addresses(&shell.machine)).unwrap_or_default();
            if more.iter().any(|address| paths[3].strip_suffix("/32") == Some(address)) {
                out = format!("2: eth0    inet {} scope global eth0\n", paths[3]).into_bytes();
            }
        }
        "date" => out = format!("{}\n", shell.machine.state().now()).into_bytes(),
        "uname" => out = b"x86_64\n".to_vec(),
        _ => status = 127,
    }
    shell.write(1, &out)?;
    Ok(status)
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// When folders and links were made; nobody asks.
const TIME: u64 = 1_000_000;

fn stat(shell: &Shell, format: &str, path: &str) -> Option<String> {
    let state = shell.machine.state();
    let disk = &state.kept.disk;
    let (kind, mode, size, mtime, number) = match disk.entry(&shell.absolute(path))? {
        Entry::Dir(mode) => ("directory", *mode, 4096, TIME, 10_001),
        Entry::Link(target) => ("symbolic link", 0o777, target.len(), TIME, 10_002),
        Entry::File(number) => {
            let inode = disk.inode(*number);
            let kind = if inode.content.is_empty() { "regular empty file" } else { "regular file" };
            (kind, inode.mode, inode.content.len(), inode.mtime, *number)
        }
    };
    let mut out = String::new();
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('F') => out += kind,
            Some('a') => out += &format!("{mode:o}"),
            Some('U') => out += &OWNER[0],
            Some('G') => out += &OWNER[1],
            Some('s') => out += &size.to_string(),
            Some('Y') => out += &mtime.to_string(),
            Some('i') => out += &number.to_string(),
            Some('n') => out += path,
            other => shell.wrong(&format!("stat -c %{other:?}")),
        }
    }
    out.push('\n');
    Some(out)
}
