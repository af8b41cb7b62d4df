//! A run that is hosted by something other than the command line: no terminal, no environment, a real sshd on loopback.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

use futures::FutureExt;
use muster_app::{
    BundleUse, ConnectionOptions, Ended, Environment, ErrorKind, Flow, FlowId, Frontend, Job, News,
    PREFLIGHT, Project, Question, Ready, RunOptions, Selection, VariableOptions,
};
use muster_engine::event::Event;
use muster_engine::play::Play;
use muster_engine::prelude::file;
use muster_engine::run::Role;
use muster_testkit::sshd::Sshd;
use secrecy::SecretString;
use serde_json::json;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// Remembers what it was told.
#[derive(Default)]
struct Told(Mutex<Vec<String>>);

impl Frontend for Told {
    fn tell(&self, news: News<'_>) {
        if let News::Warning(text) = news {
            self.0.lock().unwrap().push(text.to_owned());
        }
    }

    fn ask(&self, _: Question<'_>) -> Result<SecretString, String> {
        Err("nobody is there".to_owned())
    }
}

/// A folder with an inventory of one machine, and the side of its user.
struct Hosted {
    folder: TempDir,
    told: Arc<Told>,
    environment: Environment,
}

impl Hosted {
    fn new(machine: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("inventory")).unwrap();
        let groups = "[kube_control_plane]\nnode1\n[etcd]\nnode1\n[kube_node]\nnode1\n";
        fs::write(folder.path().join("inventory/hosts.ini"), format!("{machine}\n{groups}")).unwrap();
        let known_hosts = folder.path().join("known_hosts").display().to_string();
        let variables = [("MUSTER_KNOWN_HOSTS".to_owned(), known_hosts), ("USER".into(), "root".into())];
        let environment = Environment::new(
            BTreeMap::from(variables),
            Some(folder.path().join("home")),
            Some(folder.path().to_owned()),
        );
        Self { folder, told: Arc::default(), environment }
    }

    fn job(&self, flow: Flow) -> Job {
        Job {
            flow,
            project: Project::find(&[], &self.environment).unwrap(),
            variables: VariableOptions::default(),
            connection: ConnectionOptions::default(),
            selection: Selection::default(),
            options: RunOptions::default(),
        }
    }

    fn ready(&self, job: Job) -> Result<Ready, muster_app::Error> {
        let frontend: Arc<dyn Frontend> = self.told.clone();
        job.scope(&self.environment, &*frontend)?.prepare(&self.environment, &frontend)
    }

    /// Performs it. Returns how it ended, and the events.
    async fn perform(ready: &mut Ready, check: bool) -> (Ended, Vec<Event>) {
        let events = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&events);
        let listener = move |event: &Event| heard.lock().unwrap().push(event.clone());
        let ended = ready.perform(check, &CancellationToken::new(), vec![Box::new(listener)]).await.unwrap();
        let events = std::mem::take(&mut *events.lock().unwrap());
        (ended, events)
    }
}

fn line(sshd: &Sshd) -> String {
    format!(
        "node1 ansible_host={} ansible_port={} ansible_user={} ansible_ssh_private_key_file={}",
        sshd.address(),
        sshd.port(),
        sshd.user(),
        sshd.key().display()
    )
}

/// A flow with a role of its own, which has a typed parameter.
fn writes(path: &Path, text: &'static str) -> Flow {
    let path = path.display().to_string();
    let role = Role::given("write", move |host| {
        let file = file(path.clone()).content(text);
        async move { host.step("Write").ensure(file).await.map(drop) }.boxed()
    });
    let play =
        Play { name: "Write".into(), hosts: "all".into(), roles: vec!["write".into()], ..Play::default() };
    Flow {
        roles: vec![role],
        bundle: BundleUse::None,
        remarks: false,
        id: FlowId(json!({ "write": text })),
        ..Flow::new("a test", vec![play])
    }
}

#[tokio::test]
async fn a_flow_with_a_role_of_its_own_is_looked_at_then_done_and_heard() {
    // The machine's own folders are left alone.
    let state = tempfile::tempdir().unwrap();
    let here = format!(
        "ForceCommand sed -u 's|/var/lib/muster|{}|g' | /bin/sh -c \"$SSH_ORIGINAL_COMMAND\"",
        state.path().display()
    );
    let sshd = Sshd::builder().line(&here).start();
    let hosted = Hosted::new(&line(&sshd));
    let target = hosted.folder.path().join("written");
    let mut ready = hosted.ready(hosted.job(writes(&target, "hello\n"))).unwrap();

    let (ended, plan) = ready.plan(&CancellationToken::new(), Vec::new()).await.unwrap();
    assert!(ended.is_whole());
    assert_eq!((&plan.flow.0, plan.hosts["node1"].len()), (&json!({ "write": "hello\n" }), 1));
    assert!(!target.exists(), "planning changes nothing");

    let (ended, events) = Hosted::perform(&mut ready, false).await;
    assert!(ended.outcome["node1"].failure.is_none(), "{:?}", ended.outcome);
    assert_eq!(fs::read_to_string(&target).unwrap(), "hello\n");
    let changed = events.iter().any(|event| {
        matches!(event, Event::StepEnded { host, step, changes, .. }
            if host == "node1" && step == "Write" && changes.len() == 1)
    });
    assert!(changed, "{events:#?}");
    assert!(matches!(events.last(), Some(Event::RunEnded { .. })), "{events:#?}");

    // The connection stays for another run, which finds nothing to do.
    let (_, now) = ready.plan(&CancellationToken::new(), Vec::new()).await.unwrap();
    assert!(now.hosts["node1"].is_empty());
    let error = plan.compare(&now.hosts, "p.json").unwrap_err();
    assert_eq!(error.kind, ErrorKind::Outdated);
}

#[tokio::test]
async fn what_is_wrong_without_a_machine_is_a_typed_error_with_its_problems() {
    let hosted = Hosted::new("node1 ansible_host=192.0.2.1 kube_network_plugin=weave");
    let mut job = hosted.job(Flow::new("a test", PREFLIGHT));
    let Err(error) = hosted.ready(job.clone()) else { panic!("weave is refused") };
    let ErrorKind::Problems(problems) = error.kind else { panic!("{error:?}") };
    assert!(problems.iter().any(|problem| problem.found.contains("weave")), "{problems:?}");

    // Nobody is there to be asked.
    job.connection.ask_password = true;
    fs::write(hosted.folder.path().join("inventory/hosts.ini"), "[kube_control_plane:children]\nk\n[k]\nnode1 ansible_host=192.0.2.1\n[etcd]\nnode1\n[kube_node]\nnode1\n").unwrap();
    let Err(error) = hosted.ready(job) else { panic!("there is no password") };
    assert_eq!(error.to_string(), "cannot ask for a password: nobody is there");
    assert!(!error.hints.is_empty());
}
