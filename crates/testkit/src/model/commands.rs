//! The commands that the engine's programs use, as far as they use them. One that is not known fails the test: the model
//! must not drift away from what is sent.

use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use super::builtins;
use super::disk::{Entry, Refused, parent};
use super::look;
use super::machine::{Start, State};
use super::shell::{Done, Shell, Stop};
use super::streams::{Fd, Input, Wire};

/// Who runs the tests: the owner of all files.
pub static OWNER: LazyLock<[String; 2]> = LazyLock::new(|| {
    ["-un", "-gn"].map(|option| {
        let out = std::process::Command::new("id").arg(option).output().expect("id is on every machine");
        String::from_utf8_lossy(&out.stdout).trim().to_owned()
    })
});

/// What is there besides the tools that packages bring.
const TOOLS: [&str; 13] = [
    "apt-get",
    "awk",
    "dpkg-query",
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
        "[" => match builtins::test(shell, &words[..words.len() - 1]) {
            Ok(holds) => Ok(i32::from(!holds)),
            Err(why) => shell.say(&format!("[: {why}")).map(|()| 2),
        },
        "echo" => {
            if words.iter().any(|word| word.contains('\\')) {
                shell.wrong("what echo does with a backslash: shells differ");
            }
            shell.write(1, format!("{}\n", words.join(" ")).as_bytes()).map(|well| i32::from(!well))
        }
        "printf" => {
            let text = builtins::printf(&words);
            shell.write(1, text.as_bytes()).map(|well| i32::from(!well))
        }
        "read" => Ok(builtins::read(shell, &words)),
        "command" if words[0] == "-v" => {
            let programs = &shell.machine.nature.programs;
            let is_brought = || {
                let path = format!("/usr/local/bin/{}", words[1]);
                programs.as_ref().is_some_and(|programs| programs.knows(words[1]))
                    && shell.machine.state().kept.disk.file(&path).is_some()
            };
            let there = TOOLS.contains(&words[1])
                || shell.machine.state().kept.tools.contains(words[1])
                || is_brought();
            if there {
                shell.write(1, format!("/usr/local/sbin/{}\n", words[1]).as_bytes())?;
            }
            Ok(if there { 0 } else { 127 })
        }
        // Not the function of that name.
        "command" => {
            let (name, words): (_, Vec<String>) =
                (words[0], words[1..].iter().map(ToString::to_string).collect());
            Box::pin(run(shell, name, &words)).await
        }
        name => {
            let (machine, process) = (shell.machine.clone(), shell.process.clone());
            machine.act(&process).await?;
            Box::pin(external(shell, name, &words)).await
        }
    }
}

async fn external(shell: &mut Shell, name: &str, words: &[&str]) -> Done {
    let programs = shell.machine.nature.programs.clone();
    if let Some(programs) = programs.filter(|programs| programs.knows(name)) {
        return programs.run(shell, name, words).await;
    }
    let (options, paths) = options(words);
    let placed: Vec<_> = paths.iter().map(|path| shell.absolute(path)).collect();
    let paths: Vec<&str> = match name {
        "mv" | "rm" | "sync" => placed.iter().map(AsRef::as_ref).collect(),
        _ => paths,
    };
    let done = match name {
        "mkdir" => mkdir(shell, words),
        "mktemp" => return mktemp(shell, options.contains(&"-d"), paths[0]).await,
        "chmod" => change_mode(shell, paths[0], &placed[1]),
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
                None => {
                    state.kept.disk.flush();
                    Ok(())
                }
            }
        }
        "mv" => {
            let (from, to) = (paths[0], paths[1].trim_end_matches('/'));
            let is_folder = !options.contains(&"-T") && shell.machine.state().kept.disk.is_dir(to);
            let name = if is_folder { &from[from.rfind('/').unwrap_or(0)..] } else { "" };
            let to = format!("{to}{name}");
            with_state(shell, |state, _| state.kept.disk.rename(from, &to), &[from, &to])
        }
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
                let forced = options.iter().any(|option| option.contains('f'));
                return if forced { Ok(()) } else { Err("No such file or directory") };
            }
            let all = options.iter().any(|option| option.contains('r'));
            let remove = |state: &mut State, _: u64| match all {
                true => {
                    let below = format!("{path}/");
                    let mut mounts = state.kept.mounts.iter();
                    if let Some(mount) = mounts.find(|at| *at == path || at.starts_with(&below)) {
                        state.wrong.push(format!("rm of {path} went into what is mounted at {mount}"));
                    }
                    state.kept.disk.remove_all(path);
                    Ok(())
                }
                false if state.kept.disk.is_dir(path) => Err("Is a directory"),
                false => state.kept.disk.remove(path),
            };
            with_state(shell, remove, &[path])
        }),
        "umount" => {
            let mut state = shell.machine.state();
            match state.kept.mounts.iter().rposition(|mount| mount == paths[0]) {
                Some(place) => {
                    state.kept.mounts.remove(place);
                    shell.machine.changed(&mut state, &shell.process, paths[0]);
                    Ok(())
                }
                None => Err("not mounted"),
            }
        }
        "dd" => cut_off(shell, words),
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
        "cat" if paths.is_empty() && matches!(shell.fds.get(&0), Some(Fd::Input(..))) => {
            return own(shell).await;
        }
        "cat" | "tr" | "wc" | "sha256sum" | "tail" | "readlink" | "stat" | "head" | "grep" | "date"
        | "uname" | "ip" | "ls" | "pwd" | "seq" => {
            return look::look(shell, name, words, &options, &paths).await;
        }
        "sleep" => {
            let seconds: f64 = words[0].parse().unwrap_or(1.0);
            tokio::time::sleep(Duration::from_secs_f64(seconds)).await;
            return shell.machine.act(&shell.process).await.map(|()| 0);
        }
        "kill" => {
            let pid = paths[0].parse().unwrap_or(0);
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
        "dpkg-query" => {
            let package = words[words.len() - 1];
            let state = shell.machine.state();
            let status = match () {
                () if state.kept.half.contains(package) => "half-installed",
                () if state.kept.tools.contains(package) => "installed",
                () => return Ok(1),
            };
            drop(state);
            return shell.write(1, status.as_bytes()).map(|_| 0);
        }
        "dpkg" => {
            shell.machine.work(&shell.process, 100..2000).await?;
            shell.machine.state().kept.half.clear();
            return Ok(0);
        }
        // No disk is full.
        "df" => {
            let disks = "/dev/vda1 99999999 1 99999998 1% /\n".repeat(paths.len());
            let header = "Filesystem 1024-blocks Used Available Capacity Mounted on\n";
            return shell.write(1, format!("{header}{disks}").as_bytes()).map(|_| 0);
        }
        // No machine has swap.
        "journalctl" | "swapon" => return Ok(0),
        // A program that was cut off in its first word.
        name if "muster".starts_with(name) => return Ok(127),
        _ => {
            shell.wrong(&format!("the command {name} {words:?}"));
            return Ok(127);
        }
    };
    match done {
        Ok(()) => Ok(0),
        Err(refused) => {
            shell.say(&format!("{name}: {}: {refused}", paths.join(" ")))?;
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
    let path = &*shell.absolute(path);
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
    let placed = shell.absolute(&path);
    let make = |state: &mut State, now| match folder {
        true => state.kept.disk.enter(&placed, Entry::Dir(0o700)),
        false => state.kept.disk.open(&placed, 0o600, now).map(drop),
    };
    match with_state(shell, make, &[&placed]) {
        Ok(()) => shell.write(1, format!("{path}\n").as_bytes()).map(|_| 0),
        Err(refused) => shell.say(&format!("mktemp: {path}: {refused}")).map(|()| 1),
    }
}

/// `dd of=FILE bs=1 count=0 seek=LENGTH` makes a file that long.
fn cut_off(shell: &Shell, words: &[&str]) -> Result<(), Refused> {
    let &[file, "bs=1", "count=0", seek] = words else {
        shell.wrong(&format!("dd {words:?}"));
        return Err("unknown");
    };
    let (Some(path), Some(length)) =
        (file.strip_prefix("of="), seek.strip_prefix("seek=").and_then(|n| n.parse().ok()))
    else {
        return Err("unknown");
    };
    let mut state = shell.machine.state();
    let now = state.now();
    let number = state.kept.disk.open(path, 0o666 & !shell.umask, now)?;
    let inode = state.kept.disk.change(number);
    inode.content.resize(length, 0);
    (inode.mtime, inode.flushed) = (now, false);
    shell.machine.written(&mut state, &shell.process, number);
    Ok(())
}

/// `cat` of what the controller sends: a process of its own, which goes on when its shell is killed. That is so of every
/// command, but matters where one waits for somebody else.
async fn own(shell: &mut Shell) -> Done {
    let open = shell
        .fds
        .values()
        .filter_map(|fd| if let Fd::File { number, .. } = fd { Some(*number) } else { None });
    let process = shell.machine.start(Start::command(&shell.process, open.collect()));
    let mut command = shell.fork(process);
    let mut ended = tokio::spawn(async move {
        let done = look::copy(&mut command).await;
        command.machine.ended(&command.process);
        done
    });
    loop {
        tokio::select! {
            biased;
            ended = &mut ended => return match ended {
                // Of a command that was killed its shell says so.
                Ok(Err(Stop::Killed)) if shell.process.alive.load(Ordering::Relaxed) => Ok(137),
                Ok(done) => done,
                Err(_) => Err(Stop::Killed),
            },
            () = tokio::time::sleep(Duration::from_millis(100)) => {
                if !shell.process.alive.load(Ordering::Relaxed) {
                    return Err(Stop::Killed);
                }
            }
        }
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

/// `sh -c TEXT NAME PARAMETERS...`, or `sh FILE`.
async fn sh(shell: &mut Shell, words: &[&str]) -> Done {
    let mut inner = Shell::new(shell.machine.clone(), shell.process.clone());
    inner.fds = shell.fds.clone();
    let text = if words[0] == "-c" {
        inner.name = words[2].into();
        inner.arguments = Arc::new(words[3..].iter().map(|word| (*word).to_owned()).collect());
        words[1].to_owned()
    } else {
        let file = shell.machine.state().kept.disk.file(words[0]).map(|file| file.content.clone());
        let Some(content) = file else { return Ok(127) };
        String::from_utf8_lossy(&content).into_owned()
    };
    Box::pin(inner.program(&text)).await
}

async fn systemctl(shell: &mut Shell, words: &[&str]) -> Done {
    let (words, is_quiet) = match words {
        ["-q", rest @ ..] => (rest, true),
        words => (words, false),
    };
    let (machine, process) = (shell.machine.clone(), shell.process.clone());
    let unit = words.last().copied().unwrap_or_default();
    let unit = &*if unit.contains('.') { unit.to_owned() } else { format!("{unit}.service") };
    let known = machine.nature.units.iter().find(|(name, _)| *name == unit).map(|(name, _)| *name);
    let now = known.map(|name| machine.state().kept.units[name].clone()).unwrap_or_default();
    match (words[0], known) {
        ("show", known) => {
            let word = |yes: bool, a: &'static str, b: &'static str| if yes { a } else { b };
            let properties = [
                ("LoadState", word(known.is_some(), "loaded", "not-found").to_owned()),
                ("ActiveState", word(now.active, "active", "inactive").to_owned()),
                (
                    "UnitFileState",
                    word(now.enabled, "enabled", word(known.is_some(), "disabled", "")).to_owned(),
                ),
                ("NeedDaemonReload", "no".to_owned()),
                ("MainPID", machine.state().main_process(unit).to_string()),
            ];
            let asked = |name: &str| words.windows(2).any(|pair| pair == ["-p", name]);
            let lines = properties.iter().filter(|(name, _)| asked(name));
            let text: String = lines.map(|(name, value)| format!("{name}={value}\n")).collect();
            shell.write(1, text.as_bytes()).map(|_| 0)
        }
        ("cat", known) => Ok(i32::from(known.is_none())),
        ("daemon-reload", _) => machine.work(&process, 10..300).await.map(|()| 0),
        ("is-enabled", Some(_)) => Ok(i32::from(!now.enabled)),
        // systemctl(1): 3 for a unit that does not run.
        ("is-active", Some(_)) => {
            let (state, status) = if now.active { ("active", 0) } else { ("inactive", 3) };
            if is_quiet {
                return Ok(status);
            }
            shell.write(1, format!("{state}\n").as_bytes()).map(|_| status)
        }
        ("enable", Some(name)) => {
            {
                let mut state = machine.state();
                state.kept.units.entry(name).or_default().enabled = true;
                machine.changed(&mut state, &process, unit);
            }
            if words.contains(&"--now") && !now.active {
                machine.work(&process, 10..1500).await?;
                machine.start_unit(&process, name);
            }
            Ok(0)
        }
        ("stop" | "disable", Some(name)) => {
            machine.work(&process, 10..1500).await?;
            let mut state = machine.state();
            let now = state.kept.units.entry(name).or_default();
            match words[0] {
                "stop" => (now.active, now.loaded) = (false, Vec::new()),
                _ => now.enabled = false,
            }
            if words.contains(&"--now") {
                (now.active, now.loaded) = (false, Vec::new());
            }
            machine.changed(&mut state, &process, unit);
            Ok(0)
        }
        // None ever fails.
        ("reset-failed", _) => Ok(0),
        ("start", Some(_)) if now.active => Ok(0),
        ("start" | "restart", Some(name)) => {
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
    // Options come first.
    if words.last() == Some(&"update") {
        return machine.work(&process, 500..5000).await.map(|()| 0);
    }
    if words.last() == Some(&"dist-upgrade") {
        return dist_upgrade(shell, words.contains(&"-s")).await;
    }
    let package = words[words.len() - 1];
    let removal = words.contains(&"remove");
    if removal && words.contains(&"-s") {
        return shell.write(1, format!("Remv {package} [1.0]\n").as_bytes()).map(|_| 0);
    }
    if !unpacks(shell, package) {
        return Ok(100);
    }
    let milliseconds = if process.random(8) == 0 { 60_000..90_000 } else { 500..6000 };
    let worked = machine.work(&process, milliseconds).await;
    if !process.alive.load(Ordering::Relaxed) {
        return Err(Stop::Killed);
    }
    worked?;
    let mut state = machine.state();
    state.installing = false;
    state.kept.half.remove(package);
    if removal {
        state.kept.tools.remove(package);
    } else {
        state.kept.tools.insert(package.to_owned());
        *state.done.entry(package.to_owned()).or_default() += 1;
    }
    machine.changed(&mut state, &process, package);
    Ok(0)
}

/// Whether a package can be unpacked: nothing is half-done, and nobody else is at work.
fn unpacks(shell: &Shell, package: &str) -> bool {
    let mut state = shell.machine.state();
    if !state.kept.half.is_empty() && !state.installing {
        return false;
    }
    if std::mem::replace(&mut state.installing, true) {
        state.wrong.push("two installations at once".into());
    }
    state.kept.half.insert(package.to_owned());
    shell.machine.changed(&mut state, &shell.process, package);
    true
}

/// Newer versions of packages, one after the other.
async fn dist_upgrade(shell: &mut Shell, simulated: bool) -> Done {
    let outdated = shell.machine.state().kept.outdated.clone();
    if simulated {
        let line = |name: &String| format!("Inst {name} [1.0] (1.1 local [all])\n");
        let lines: String = outdated.iter().map(line).collect();
        return shell.write(1, lines.as_bytes()).map(|_| 0);
    }
    for package in outdated {
        if !unpacks(shell, &package) {
            return Ok(100);
        }
        shell.machine.work(&shell.process, 500..6000).await?;
        let mut state = shell.machine.state();
        state.installing = false;
        state.kept.half.remove(&package);
        state.kept.outdated.remove(&package);
        *state.done.entry(package.clone()).or_default() += 1;
        if package == "linux" {
            let now = state.now();
            state.kept.disk.open("/run/reboot-required", 0o644, now).ok();
        }
        shell.machine.changed(&mut state, &shell.process, &package);
    }
    Ok(0)
}

/// For programs that are handed over as one line, with what they read.
pub fn input(stream: Input, wire: &Arc<Wire>) -> Fd {
    Fd::Input(Arc::new(tokio::sync::Mutex::new(stream)), wire.clone())
}
