//! The commands that the engine's programs use, as far as they use them. One that is not known fails the test: the model
//! must not drift away from what is sent.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use sha2::{Digest, Sha256};

use crate::disk::{Entry, Refused, parent};
use crate::machine::State;
use crate::shell::{Done, Fd, Shell, Stop};

/// Who runs the tests: the owner of all files.
pub(crate) static OWNER: LazyLock<[String; 2]> = LazyLock::new(|| {
    ["-un", "-gn"].map(|option| {
        let out = std::process::Command::new("id").arg(option).output().expect("id is on every machine");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    })
});

/// What is there besides the tools that packages bring.
const TOOLS: [&str; 12] = [
    "apt-get",
    "awk",
    "gzip",
    "mktemp",
    "mount",
    "setsid",
    "sha256sum",
    "stat",
    "sync",
    "systemctl",
    "tar",
    "tr",
];

pub(crate) async fn run(shell: &mut Shell, name: &str, words: &[String]) -> Done {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match name {
        ":" | "true" => Ok(0),
        "false" => Ok(1),
        "[" => Ok(i32::from(!test(shell, &words[..words.len() - 1]))),
        "echo" => {
            shell.write(1, format!("{}\n", words.join(" ")).as_bytes()).await.map(|well| i32::from(!well))
        }
        "printf" => {
            let text = printf(&words);
            shell.write(1, text.as_bytes()).await.map(|well| i32::from(!well))
        }
        "read" => Ok(read(shell, &words)),
        "command" if words[0] == "-v" => {
            let there = TOOLS.contains(&words[1]) || shell.machine.state().kept.tools.contains(words[1]);
            if there {
                shell.write(1, format!("/usr/local/sbin/{}\n", words[1]).as_bytes()).await?;
            }
            Ok(if there { 0 } else { 127 })
        }
        name => {
            let (machine, process) = (shell.machine.clone(), shell.process.clone());
            machine.act(&process).await?;
            external(shell, name, &words).await
        }
    }
}

async fn external(shell: &mut Shell, name: &str, words: &[&str]) -> Done {
    let (options, paths) = options(words);
    let done = match name {
        "mkdir" => mkdir(shell, words),
        "mktemp" => return mktemp(shell, options.contains(&"-d"), paths[0]).await,
        "chmod" => change_mode(shell, paths[0], paths[1]),
        // All files belong to whoever runs the tests.
        "chown" => Ok(()),
        "sync" => {
            let mut state = shell.machine.state();
            match paths.first() {
                Some(path) => match state.kept.disk.number(path) {
                    Some(number) => {
                        state.kept.disk.change(number).flushed = true;
                        Ok(())
                    }
                    None => Err("No such file or directory"),
                },
                None => Err("a path is wanted"),
            }
        }
        "mv" => with_state(shell, |disk, _| disk.kept.disk.rename(paths[0], paths[1]), &paths),
        "ln" if options.is_empty() => with_state(
            shell,
            |state, _| {
                let entry = state.kept.disk.entry(paths[0]).cloned().ok_or("No such file or directory")?;
                state.kept.disk.enter(paths[1], entry)
            },
            &paths[1..],
        ),
        "ln" => with_state(
            shell,
            |state, _| state.kept.disk.enter(paths[1], Entry::Link(paths[0].into())),
            &paths[1..],
        ),
        "rmdir" => paths.iter().try_for_each(|path| {
            with_state(
                shell,
                |state, _| match state.kept.disk.entry(path) {
                    Some(Entry::Dir(_)) => state.kept.disk.remove(path),
                    Some(_) => Err("Not a directory"),
                    None => Err("No such file or directory"),
                },
                &[path],
            )
        }),
        "rm" => paths.iter().try_for_each(|path| {
            if shell.machine.state().kept.disk.entry(path).is_none() {
                return Ok(());
            }
            let all = options.iter().any(|option| option.contains('r'));
            let remove = |state: &mut State, _: u64| match all {
                true => {
                    state.kept.disk.remove_all(path);
                    Ok(())
                }
                false if state.kept.disk.is_dir(path) => Err("Is a directory"),
                false => state.kept.disk.remove(path),
            };
            with_state(shell, remove, &[path])
        }),
        "cp" => with_state(
            shell,
            |state, now| {
                let from = state.kept.disk.file(paths[0]).cloned().ok_or("No such file or directory")?;
                let number = state.kept.disk.open(paths[1], from.mode, now)?;
                let to = state.kept.disk.change(number);
                (to.content, to.mode, to.mtime, to.flushed) = (from.content, from.mode, from.mtime, false);
                Ok(())
            },
            &paths[1..],
        ),
        "cat" | "tr" | "wc" | "sha256sum" | "tail" | "readlink" | "stat" | "head" | "grep" | "date"
        | "uname" | "ip" => {
            return look(shell, name, words, &options, &paths).await;
        }
        "sleep" => {
            let seconds: f64 = words[0].parse().unwrap_or(1.0);
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            return shell.machine.act(&shell.process).await.map(|()| 0);
        }
        "kill" => {
            let pid = words[0].parse().unwrap_or(0);
            let done = shell.machine.kill(pid);
            if pid == shell.process.pid {
                return Err(Stop::Killed);
            }
            return Ok(i32::from(!done));
        }
        "setsid" => {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            return shell.call_boxed(&words).await;
        }
        "/bin/sh" => return sh(shell, words).await,
        "systemctl" => return systemctl(shell, words).await,
        "apt-get" => return apt_get(shell, words).await,
        "dpkg" => {
            shell.machine.work(&shell.process, 100..2000).await?;
            shell.machine.state().kept.half.clear();
            return Ok(0);
        }
        "journalctl" => return Ok(0),
        _ => {
            shell.wrong(&format!("the command {name} {words:?}"));
            return Ok(127);
        }
    };
    match done {
        Ok(()) => Ok(0),
        Err(refused) => {
            shell.say(&format!("{name}: {}: {refused}", paths.join(" "))).await?;
            Ok(1)
        }
    }
}

/// Options, and what follows them.
fn options<'w>(words: &[&'w str]) -> (Vec<&'w str>, Vec<&'w str>) {
    let count =
        words.iter().take_while(|word| word.len() > 1 && word.starts_with('-') && **word != "--").count();
    let rest = &words[count..];
    (words[..count].to_vec(), rest.strip_prefix(&["--"]).unwrap_or(rest).to_vec())
}

/// A change of names, and what it is about.
fn with_state(
    shell: &Shell,
    change: impl Fn(&mut State, u64) -> Result<(), Refused>,
    about: &[&str],
) -> Result<(), Refused> {
    let mut state = shell.machine.state();
    let now = state.now();
    change(&mut state, now)?;
    for path in about {
        shell.machine.changed(&mut state, &shell.process, path);
    }
    Ok(())
}

fn mkdir(shell: &Shell, words: &[&str]) -> Result<(), Refused> {
    let (mut parents, mut mode, mut path) = (false, 0o777 & !shell.umask, "");
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match *word {
            "-p" => parents = true,
            "-m" => mode = words.next().and_then(|mode| u32::from_str_radix(mode, 8).ok()).ok_or("mode")?,
            word => path = word,
        }
    }
    let missing: Vec<_> = std::iter::successors(Some(path), |path| Some(parent(path)))
        .take_while(|path| !path.is_empty())
        .filter(|path| !shell.machine.state().kept.disk.is_dir(path))
        .collect();
    if !parents {
        return with_state(shell, |state, _| state.kept.disk.enter(path, Entry::Dir(mode)), &[path]);
    }
    missing.iter().rev().try_for_each(|missing| {
        let mode = if *missing == path { mode } else { 0o777 & !shell.umask };
        with_state(shell, |state, _| state.kept.disk.enter(missing, Entry::Dir(mode)), &[missing])
    })
}

async fn mktemp(shell: &mut Shell, folder: bool, template: &str) -> Done {
    let letters: String = (0..6).map(|_| char::from(b'A' + shell.process.random(26) as u8)).collect();
    let path = template.replace("XXXXXX", &letters);
    let make = |state: &mut State, now| match folder {
        true => state.kept.disk.enter(&path, Entry::Dir(0o700)),
        false => state.kept.disk.open(&path, 0o600, now).map(drop),
    };
    match with_state(shell, make, &[&path]) {
        Ok(()) => shell.write(1, format!("{path}\n").as_bytes()).await.map(|_| 0),
        Err(refused) => shell.say(&format!("mktemp: {path}: {refused}")).await.map(|()| 1),
    }
}

fn change_mode(shell: &Shell, mode: &str, path: &str) -> Result<(), Refused> {
    let mode = u32::from_str_radix(mode, 8).map_err(|_| "mode")?;
    with_state(shell, |state, _| state.kept.disk.set_mode(path, mode), &[path])?;
    let mut state = shell.machine.state();
    if let Some(number) = state.kept.disk.number(path) {
        shell.machine.written(&mut state, &shell.process, number);
    }
    Ok(())
}

/// Commands that only look.
async fn look(shell: &mut Shell, name: &str, words: &[&str], options: &[&str], paths: &[&str]) -> Done {
    let file = |path: &str| shell.machine.state().kept.disk.file(path).map(|file| file.content.clone());
    let mut out = Vec::new();
    let mut status = 0;
    match name {
        "cat" if paths.is_empty() => loop {
            let piece = shell.read(0).await?;
            if piece.is_empty() {
                return Ok(0);
            }
            if !shell.write(1, &piece).await? {
                return Ok(1);
            }
        },
        "cat" => {
            for path in paths {
                match file(path) {
                    Some(content) => out.extend(content),
                    None => status = 1,
                }
            }
        }
        "tr" => {
            let (from, to) = (words[0].as_bytes()[0], words[1].as_bytes()[0]);
            out = shell.read(0).await?;
            out.iter_mut().filter(|byte| **byte == from).for_each(|byte| *byte = to);
        }
        "wc" => out = format!("{}\n", shell.read(0).await?.len()).into_bytes(),
        "sha256sum" if options == ["-c"] => {
            let list = String::from_utf8_lossy(&shell.read(0).await?).into_owned();
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
        "tail" => match (words[0], words[1], file(words[2])) {
            (_, _, None) => status = 1,
            ("-c", "1", Some(content)) => out.extend(content.last()),
            ("-n", "1", Some(content)) => {
                let text = content.strip_suffix(b"\n").unwrap_or(&content);
                let begin = text.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
                out.extend(&content[begin..]);
            }
            _ => shell.wrong(&format!("tail {words:?}")),
        },
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
        "grep" => status = 2,
        "date" => out = format!("{}\n", shell.machine.state().now()).into_bytes(),
        "uname" => out = b"x86_64\n".to_vec(),
        _ => status = 127,
    }
    shell.write(1, &out).await?;
    Ok(status)
}

pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn stat(shell: &Shell, format: &str, path: &str) -> Option<String> {
    let state = shell.machine.state();
    let disk = &state.kept.disk;
    let (kind, mode, size, mtime, number) = match disk.entry(path)? {
        Entry::Dir(mode) => ("directory", *mode, 4096, 0, 1),
        Entry::Link(target) => ("symbolic link", 0o777, target.len(), 0, 2),
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

/// `sh -c TEXT NAME PARAMETERS...`, or `sh FILE`.
async fn sh(shell: &mut Shell, words: &[&str]) -> Done {
    let mut inner = Shell::new(shell.machine.clone(), shell.process.clone());
    inner.fds = shell.fds.clone();
    let text = if words[0] == "-c" {
        inner.arguments = words[3..].iter().map(|word| (*word).to_owned()).collect();
        words[1].to_owned()
    } else {
        let file = shell.machine.state().kept.disk.file(words[0]).map(|file| file.content.clone());
        let Some(content) = file else { return Ok(127) };
        String::from_utf8_lossy(&content).into_owned()
    };
    Box::pin(inner.program(&text)).await
}

async fn systemctl(shell: &mut Shell, words: &[&str]) -> Done {
    let (machine, process) = (shell.machine.clone(), shell.process.clone());
    let unit = words.last().copied().unwrap_or_default();
    let known = machine.nature.units.iter().find(|(name, _)| *name == unit).map(|(name, _)| *name);
    let now = known.map(|name| machine.state().kept.units[name].clone()).unwrap_or_default();
    match (words[0], known) {
        ("show", known) => {
            let word = |yes: bool, a: &'static str, b: &'static str| if yes { a } else { b };
            let text = format!(
                "LoadState={}\nActiveState={}\nUnitFileState={}\nNeedDaemonReload=no\n",
                word(known.is_some(), "loaded", "not-found"),
                word(now.active, "active", "inactive"),
                word(now.enabled, "enabled", word(known.is_some(), "disabled", "")),
            );
            shell.write(1, text.as_bytes()).await.map(|_| 0)
        }
        ("daemon-reload", _) => machine.work(&process, 10..300).await.map(|()| 0),
        ("is-enabled", Some(_)) => Ok(i32::from(!now.enabled)),
        ("enable", Some(name)) => {
            let mut state = machine.state();
            state.kept.units.entry(name).or_default().enabled = true;
            machine.changed(&mut state, &process, unit);
            Ok(0)
        }
        ("restart", Some(name)) => {
            machine.work(&process, 10..1500).await?;
            machine.start_unit(&process, name);
            machine.work(&process, 10..1500).await.map(|()| 0)
        }
        _ => {
            shell.wrong(&format!("systemctl {words:?}"));
            Ok(1)
        }
    }
}

/// As apt-get does: one at a time, and what was cut off must be mended with dpkg first.
async fn apt_get(shell: &mut Shell, words: &[&str]) -> Done {
    let (machine, process) = (shell.machine.clone(), shell.process.clone());
    if words[0] == "update" {
        return machine.work(&process, 500..5000).await.map(|()| 0);
    }
    let package = words[words.len() - 1];
    {
        let mut state = machine.state();
        if !state.kept.half.is_empty() && !state.installing {
            return Ok(100);
        }
        if std::mem::replace(&mut state.installing, true) {
            state.wrong.push("two installations at once".into());
        }
        state.kept.half.insert(package.to_owned());
        machine.changed(&mut state, &process, package);
    }
    let worked = machine.work(&process, 3000..40_000).await;
    if !process.alive.load(Ordering::Relaxed) {
        return Err(Stop::Killed);
    }
    worked?;
    let mut state = machine.state();
    state.installing = false;
    state.kept.half.remove(package);
    state.kept.tools.insert(package.to_owned());
    *state.done.entry(package.to_owned()).or_default() += 1;
    machine.changed(&mut state, &process, package);
    Ok(0)
}

fn test(shell: &Shell, words: &[&str]) -> bool {
    let number = |text: &str| {
        text.parse::<i64>().unwrap_or_else(|_| {
            shell.wrong(&format!("the number {text:?} of [ {words:?}"));
            0
        })
    };
    match words {
        ["!", rest @ ..] => !test(shell, rest),
        [] => false,
        [text] => !text.is_empty(),
        [left, "=", right] => left == right,
        [left, "!=", right] => left != right,
        [left, "-le", right] => number(left) <= number(right),
        [left, "-gt", right] => number(left) > number(right),
        ["-z", text] => text.is_empty(),
        ["-n", text] => !text.is_empty(),
        [what, path] => {
            let state = shell.machine.state();
            let disk = &state.kept.disk;
            match *what {
                "-e" | "-r" | "-w" => disk.exists(path) || path.starts_with("/proc/sys/kernel/"),
                "-f" => disk.file(path).is_some(),
                "-d" => disk.is_dir(path),
                "-L" => matches!(disk.entry(path), Some(Entry::Link(_))),
                "-s" => disk.file(path).is_some_and(|file| !file.content.is_empty()),
                "-x" => disk.file(path).is_some_and(|file| file.mode & 0o111 != 0),
                _ => {
                    drop(state);
                    shell.wrong(&format!("[ {words:?}"));
                    false
                }
            }
        }
        _ => {
            shell.wrong(&format!("[ {words:?}"));
            false
        }
    }
}

fn printf(words: &[&str]) -> String {
    let mut out = String::new();
    let mut values = words[1..].iter();
    loop {
        let mut chars = words[0].chars().peekable();
        while let Some(c) = chars.next() {
            match (c, chars.peek()) {
                ('%', Some('s')) => {
                    chars.next();
                    out += values.next().copied().unwrap_or_default();
                }
                ('\\', Some('n')) => {
                    chars.next();
                    out.push('\n');
                }
                ('\\', Some('0')) => {
                    let digits: String = chars.by_ref().take(3).collect();
                    out.extend(u32::from_str_radix(&digits, 8).ok().and_then(char::from_u32));
                }
                (c, _) => out.push(c),
            }
        }
        if values.len() == 0 {
            return out;
        }
    }
}

fn read(shell: &mut Shell, words: &[&str]) -> i32 {
    let (line, complete) = shell.read_line(0);
    let whole = shell.variables.get("IFS").is_some_and(String::is_empty);
    let mut rest = if whole { line.as_str() } else { line.trim() };
    let names = words.strip_prefix(&["-r"]).unwrap_or(words);
    for (number, name) in names.iter().enumerate() {
        let end = if whole || number + 1 == names.len() { None } else { rest.find(char::is_whitespace) };
        let (value, left) = rest.split_at(end.unwrap_or(rest.len()));
        shell.variables.insert((*name).to_owned(), value.to_owned());
        rest = left.trim_start();
    }
    i32::from(!complete)
}

/// For programs that are handed over as one line, with what they read.
pub(crate) fn input(stream: muster_engine::transport::Input, wire: &Arc<crate::shell::Wire>) -> Fd {
    Fd::Input(Arc::new(tokio::sync::Mutex::new(stream)), wire.clone())
}
