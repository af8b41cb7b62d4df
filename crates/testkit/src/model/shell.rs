//! Runs programs as /bin/sh does, on a model machine: every action takes its turn among those of other programs, and a
//! program can end at any of them.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::future::BoxFuture;

use super::commands;
use super::machine::{Machine, Process};
use super::streams::Fd;
use super::syntax::Program;
use super::tree::{Command, Item, Join, Kind, List, Pipeline, Redirect, Word};

/// The marks of a program ([`Program::read`]).
type Marks = Arc<Vec<String>>;

/// Why a program does not go on with its next command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    Exit(i32),
    Return(i32),
    Break,
    Continue,
    /// At once and without its trap: by a signal, or because the power went.
    Killed,
}

pub type Done<T = i32> = Result<T, Stop>;

/// POSIX XCU 2.14.
const SPECIAL: [&str; 12] =
    [":", "break", "continue", "eval", "exec", "exit", "export", "return", "set", "shift", "trap", "unset"];

#[derive(Clone)]
pub struct Shell {
    pub machine: Arc<Machine>,
    pub process: Arc<Process>,
    pub variables: Arc<HashMap<String, String>>,
    pub arguments: Arc<Vec<String>>,
    /// `$0`.
    pub name: Arc<str>,
    /// With the marks of the program that they are part of.
    functions: Arc<HashMap<String, (Arc<Command>, Marks)>>,
    pub marks: Marks,
    pub fds: BTreeMap<u8, Fd>,
    trap: Option<String>,
    pub umask: u32,
    /// The folder in which it works, where it has said so.
    pub folder: Option<String>,
    errexit: bool,
    pub nounset: bool,
    /// How many conditions the command is part of: in a condition a failure is an answer.
    conditions: usize,
    pub status: i32,
    /// How the last command substitution ended, which is how a command without words ends.
    pub substituted: i32,
    pub background: u32,
    /// The commands in the background that nobody has waited for.
    children: Vec<u32>,
    /// What command substitutions have said that are part of the words to expand next.
    pub outputs: VecDeque<String>,
}

impl Shell {
    pub fn new(machine: Arc<Machine>, process: Arc<Process>) -> Self {
        Self {
            machine,
            process,
            variables: Arc::default(),
            arguments: Arc::default(),
            name: "sh".into(),
            functions: Arc::default(),
            marks: Arc::default(),
            fds: BTreeMap::from([(0, Fd::Null), (1, Fd::Null), (2, Fd::Null)]),
            trap: None,
            umask: 0o022,
            folder: None,
            errexit: false,
            nounset: false,
            conditions: 0,
            status: 0,
            substituted: 0,
            background: 0,
            children: Vec::new(),
            outputs: VecDeque::new(),
        }
    }

    /// Another process, which begins with what this one has.
    pub(crate) fn fork(&self, process: Arc<Process>) -> Self {
        Self { process, trap: None, conditions: 0, children: Vec::new(), ..self.clone() }
    }

    /// Reads and runs a program line by line, as from standard input, to the process's end.
    pub async fn program(&mut self, text: &str) -> Done {
        let ended = self.text(text).await;
        self.over(ended).await
    }

    /// The end of a process, or of a subshell: its trap.
    async fn over(&mut self, ended: Done) -> Done {
        self.status = match ended {
            Ok(status) | Err(Stop::Exit(status) | Stop::Return(status)) => status,
            Err(Stop::Break | Stop::Continue) => self.status,
            Err(Stop::Killed) => return ended,
        };
        if let Some(trap) = self.trap.take() {
            let status = self.status;
            self.errexit = false;
            match self.text(&trap).await {
                Err(Stop::Killed) => return Err(Stop::Killed),
                Err(Stop::Exit(status)) => self.status = status,
                _ => self.status = status,
            }
        }
        Ok(self.status)
    }

    /// Commands in this very shell: a program, or what `eval` and traps hold.
    pub(crate) fn text<'s>(&'s mut self, text: &'s str) -> BoxFuture<'s, Done> {
        Box::pin(async move {
            let (program, marks) = Program::read(text);
            let before = std::mem::replace(&mut self.marks, marks);
            let done = self.lines(&program).await;
            self.marks = before;
            done
        })
    }

    async fn lines(&mut self, program: &Program) -> Done {
        for line in &program.lines {
            self.list(line).await?;
        }
        let Some(error) = &program.error else { return Ok(self.status) };
        self.say(&format!("syntax error: {}", error.0))?;
        Err(Stop::Exit(2))
    }

    pub(crate) fn list<'s>(&'s mut self, list: &'s List) -> BoxFuture<'s, Done> {
        Box::pin(async move {
            for item in list {
                if item.background {
                    self.start(item);
                    self.status = 0;
                } else {
                    self.item(item).await?;
                }
            }
            Ok(self.status)
        })
    }

    /// A command in the background: a process of its own.
    fn start(&mut self, item: &Item) {
        let [(Join::First, Pipeline { commands, .. })] = item.chain.as_slice() else {
            return self.wrong("a list in the background");
        };
        let [command] = commands.as_slice() else { return self.wrong("a pipeline in the background") };
        let process = self.machine.start(super::machine::Start {
            run: self.process.run,
            seed: self.process.random(u64::MAX),
            slow: self.process.slow,
            ..super::machine::Start::default()
        });
        self.background = process.pid;
        self.children.push(process.pid);
        let mut shell = self.fork(process);
        let command = command.clone();
        tokio::spawn(async move {
            let ended = shell.command(&command).await;
            // Killed or not, nobody asks.
            let _ = shell.over(ended).await;
            shell.machine.ended(&shell.process);
        });
    }

    async fn item(&mut self, item: &Item) -> Done {
        let last = item.chain.len() - 1;
        for (number, (join, pipeline)) in item.chain.iter().enumerate() {
            let runs = match join {
                Join::First => true,
                Join::And => self.status == 0,
                Join::Or => self.status != 0,
            };
            if !runs {
                continue;
            }
            let condition = number < last || pipeline.negated;
            self.conditions += usize::from(condition);
            let done = self.pipeline(pipeline).await;
            self.conditions -= usize::from(condition);
            done?;
            if self.status != 0 && !condition && self.errexit && self.conditions == 0 {
                return Err(Stop::Exit(self.status));
            }
        }
        Ok(self.status)
    }

    async fn pipeline(&mut self, pipeline: &Pipeline) -> Done {
        let (last, before) = pipeline.commands.split_last().expect("a pipeline has a command");
        if before.is_empty() {
            self.status = self.command(last).await?;
        } else {
            // One after the other: nothing here waits for what comes after it in a pipeline.
            let mut input = self.fds[&0].clone();
            for (number, command) in pipeline.commands.iter().enumerate() {
                let mut shell = self.fork(self.process.clone());
                shell.fds.insert(0, input.clone());
                let pipe = Arc::new(Mutex::new(Vec::new()));
                if number < before.len() {
                    shell.fds.insert(1, Fd::Pipe(pipe.clone()));
                }
                let ended = shell.command(command).await;
                self.status = shell.over(ended).await?;
                input = Fd::Source(Arc::new(Mutex::new((std::mem::take(&mut *pipe.lock().unwrap()), 0))));
            }
        }
        if pipeline.negated {
            self.status = i32::from(self.status == 0);
        }
        Ok(self.status)
    }

    pub(crate) fn command<'s>(&'s mut self, command: &'s Command) -> BoxFuture<'s, Done> {
        Box::pin(async move {
            if let Kind::Simple { assignments, words } = &command.kind {
                return self.simple(assignments, words, &command.redirects).await;
            }
            let kept = (!command.redirects.is_empty()).then(|| self.fds.clone());
            if !self.redirect(&command.redirects).await? {
                self.fds = kept.unwrap_or_default();
                return self.ended(2);
            }
            let done = self.compound(&command.kind).await;
            // The trap of a shell that ends here still has these.
            if let Some(kept) = kept
                && !matches!(done, Err(Stop::Exit(_)))
            {
                self.fds = kept;
            }
            self.status = done?;
            Ok(self.status)
        })
    }

    async fn compound(&mut self, kind: &Kind) -> Done {
        match kind {
            Kind::Simple { .. } => unreachable!("done by the caller"),
            Kind::Group(list) => self.list(list).await,
            Kind::Subshell(list) => {
                let status = self.subshell(list, None).await?;
                self.ended(status)
            }
            Kind::If { arms, otherwise } => {
                for (condition, body) in arms {
                    if self.condition(condition).await? == 0 {
                        self.status = 0;
                        return self.list(body).await;
                    }
                }
                self.status = 0;
                self.list(otherwise).await
            }
            Kind::For { name, words, body } => {
                let values = match words {
                    Some(words) => {
                        self.substitute(words).await?;
                        self.fields(words)?
                    }
                    None => self.arguments.to_vec(),
                };
                self.status = 0;
                for value in values {
                    self.assign(name, value);
                    match self.list(body).await {
                        Ok(_) => {}
                        // These are commands too, and end well.
                        Err(Stop::Continue) => self.status = 0,
                        Err(Stop::Break) => {
                            self.status = 0;
                            break;
                        }
                        stop => return stop,
                    }
                }
                Ok(self.status)
            }
            Kind::While { until, condition, body } => {
                let mut status = 0;
                while (self.condition(condition).await? != 0) == *until {
                    match self.list(body).await {
                        Ok(ended) => status = ended,
                        Err(Stop::Continue) => status = 0,
                        Err(Stop::Break) => {
                            status = 0;
                            break;
                        }
                        stop => return stop,
                    }
                }
                Ok(status)
            }
            Kind::Case { word, arms } => {
                self.substitute(std::slice::from_ref(word)).await?;
                let value = self.value(word)?;
                for (patterns, body) in arms {
                    for pattern in patterns {
                        if super::expand::matches(&self.pattern(pattern)?, &value) {
                            self.status = 0;
                            return self.list(body).await;
                        }
                    }
                }
                Ok(0)
            }
            Kind::Function(name, body) => {
                let function = (body.clone(), self.marks.clone());
                Arc::make_mut(&mut self.functions).insert(name.clone(), function);
                Ok(0)
            }
        }
    }

    async fn condition(&mut self, list: &List) -> Done {
        self.conditions += 1;
        let done = self.list(list).await;
        self.conditions -= 1;
        done
    }

    /// A list in a process of its own, which is this one as far as the machine is concerned.
    pub(crate) async fn subshell(&mut self, list: &List, out: Option<Fd>) -> Done {
        let mut shell = self.fork(self.process.clone());
        shell.conditions = self.conditions;
        if let Some(out) = out {
            shell.fds.insert(1, out);
        }
        let ended = shell.list(list).await;
        shell.over(ended).await
    }

    /// The end of a command in this shell, which may be the end of the shell.
    fn ended(&mut self, status: i32) -> Done {
        self.status = status;
        Ok(status)
    }

    async fn simple(
        &mut self,
        assignments: &[(String, Word)],
        words: &[Word],
        redirects: &[Redirect],
    ) -> Done {
        self.substituted = 0;
        self.substitute(words).await?;
        let words = self.fields(words)?;
        let mut before = Vec::new();
        for (name, word) in assignments {
            self.substitute(std::slice::from_ref(word)).await?;
            let value = self.value(word)?;
            let old = self.assign(name, value);
            if !words.is_empty() {
                before.push((name, old));
            }
        }
        let status = self.substituted;
        let kept = (!redirects.is_empty()).then(|| self.fds.clone());
        if !self.redirect(redirects).await? {
            self.fds = kept.unwrap_or_default();
            // POSIX XCU 2.8.1: the shell ends where this happens to one of its special commands.
            if words.first().is_some_and(|name| SPECIAL.contains(&name.as_str())) {
                return Err(Stop::Exit(2));
            }
            return self.ended(2);
        }
        let done = match words.split_first() {
            None => Ok(status),
            Some((name, rest)) => self.call(name, rest).await,
        };
        for (name, old) in before {
            match old {
                Some(old) => self.assign(name, old),
                None => Arc::make_mut(&mut self.variables).remove(name),
            };
        }
        if let Some(kept) = kept
            && words.first().is_none_or(|name| name != "exec")
            && !matches!(done, Err(Stop::Exit(_)))
        {
            self.fds = kept;
        }
        self.status = done?;
        Ok(self.status)
    }

    /// Sets a variable, and tells what it was.
    pub(crate) fn assign(&mut self, name: &str, value: String) -> Option<String> {
        let variables = Arc::make_mut(&mut self.variables);
        match variables.get_mut(name) {
            Some(old) => Some(std::mem::replace(old, value)),
            None => variables.insert(name.to_owned(), value),
        }
    }

    async fn call(&mut self, name: &str, arguments: &[String]) -> Done {
        if let Some((function, marks)) = self.functions.get(name).cloned() {
            let before = std::mem::replace(&mut self.arguments, Arc::new(arguments.to_vec()));
            let marks = std::mem::replace(&mut self.marks, marks);
            let done = self.command(&function).await;
            (self.arguments, self.marks) = (before, marks);
            return match done {
                Err(Stop::Return(status)) => Ok(status),
                done => done,
            };
        }
        let number =
            |at: usize, otherwise| arguments.get(at).map_or(otherwise, |n: &String| n.parse().unwrap_or(2));
        match name {
            "exit" => Err(Stop::Exit(number(0, self.status))),
            "return" => Err(Stop::Return(number(0, self.status))),
            "break" => Err(Stop::Break),
            "continue" => Err(Stop::Continue),
            "shift" => {
                Arc::make_mut(&mut self.arguments).drain(..number(0, 1) as usize);
                Ok(0)
            }
            "set" => {
                let first = arguments.first().map_or("", String::as_str);
                match (first, first.split_at_checked(1)) {
                    ("--", _) => self.arguments = Arc::new(arguments[1..].to_vec()),
                    (_, Some((sign @ ("-" | "+"), letters)))
                        if letters.chars().all(|c| "euC".contains(c)) =>
                    {
                        let on = sign == "-";
                        self.errexit = if letters.contains('e') { on } else { self.errexit };
                        self.nounset = if letters.contains('u') { on } else { self.nounset };
                    }
                    _ => self.wrong(&format!("set {first:?}")),
                }
                Ok(0)
            }
            "trap" => {
                self.trap = arguments.first().filter(|text| *text != "-").cloned();
                if arguments.get(1).is_none_or(|signal| signal != "EXIT") {
                    self.wrong("a trap for something else than EXIT");
                }
                Ok(0)
            }
            "eval" => {
                let text = arguments.join(" ");
                self.status = 0;
                self.text(&text).await
            }
            "umask" => {
                self.umask = u32::from_str_radix(&arguments[0], 8).unwrap_or(0o022);
                Ok(0)
            }
            "cd" => {
                let folder = self.absolute(&arguments[arguments.len() - 1]).into_owned();
                let there = self.machine.state().kept.disk.is_dir(&folder);
                if there {
                    self.assign("PWD", folder.clone());
                    self.folder = Some(folder);
                }
                Ok(if there { 0 } else { 2 })
            }
            "wait" => {
                for pid in std::mem::take(&mut self.children) {
                    while self.machine.runs(pid) {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                        self.machine.act(&self.process).await?;
                    }
                }
                Ok(0)
            }
            "export" => Ok(0),
            "exec" if arguments.is_empty() => Ok(0),
            "exec" => {
                let status = self.call_boxed(arguments).await?;
                // The trap of a shell goes with it.
                self.trap = None;
                Err(Stop::Exit(status))
            }
            _ => commands::run(self, name, arguments).await,
        }
    }

    /// A command by its words.
    pub(crate) fn call_boxed<'s>(&'s mut self, words: &'s [String]) -> BoxFuture<'s, Done> {
        Box::pin(async move { self.call(&words[0], &words[1..]).await })
    }

    /// Notes that the model does not know something, which fails the test.
    pub(crate) fn wrong(&self, what: &str) {
        self.machine.state().wrong.push(format!("the model does not know {what}"));
    }
}
