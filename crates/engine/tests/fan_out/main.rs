//! Machines hand artifacts on to each other, and uploads that break off go on where they stopped: with real sshds.

#![allow(clippy::expect_used, clippy::unwrap_used, reason = "it is a test: what does not hold ends it")]

mod fixture;

use std::fs;
use std::io::{Seek, SeekFrom};
use std::path::Path;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use fixture::{Machine, Machines};
use futures::future::FutureExt;
use muster_engine::event::{Change, Event};
use muster_engine::prelude::*;
use muster_engine::run::Role;
use muster_engine::transport::{Input, blocking_input};
use muster_testkit::fault_record::held;
use sha2::{Digest, Sha256};
use tokio::io::{AsyncRead, ReadBuf};

const ROLES: &[Role] = &[
    Role::new("file", |h| get(h, false, None).boxed()),
    Role::new("named", |h| get(h, true, None).boxed()),
    Role::new("broken", |h| get(h, false, Some(&OPENED)).boxed()),
];

/// From which byte on an upload was opened, each time, for `broken`.
static OPENED: Mutex<Vec<u64>> = Mutex::new(Vec::new());

/// Where the uploads of `broken` stop, until their connection is cut.
const STOPS: [u64; 2] = [8 << 20, 13 << 20];

/// Gets the content.
async fn get(host: &Host, named: bool, opened: Option<&'static Mutex<Vec<u64>>>) -> Result<()> {
    let path = host.all_vars().get("content")?.unwrap().as_str().unwrap().to_owned();
    host.step("get").ensure(Content { path, named, opened }).await?;
    Ok(())
}

/// The content is there; as an archive of images gets there, where it is `named`.
struct Content {
    path: String,
    named: bool,
    opened: Option<&'static Mutex<Vec<u64>>>,
}

/// Takes its time, and tells so, where a test says that it does.
const TAKE: &str = r#"
echo began >>"$2/began"
while [ -e "$2/hold" ]; do
  echo working >&2
  sleep 0.05
done
mv "$1" "$2/got""#;

impl Resource for Content {
    fn label(&self) -> String {
        "the content".into()
    }

    fn probe(&self) -> Probe {
        Probe::script(sh(r#"[ -e "$1" ]"#, ["/var/lib/muster/got"]))
    }

    fn plan(&self, seen: &Seen) -> Result<Plan, String> {
        if seen.answer().status == 0 {
            return Ok(Plan::nothing());
        }
        let bytes = if self.named {
            Bytes::Named("the content".into())
        } else {
            let sha256 = Sha256::digest(fs::read(&self.path).unwrap());
            Bytes::Sha256(sha256.iter().map(|byte| format!("{byte:02x}")).collect())
        };
        let script = sh(TAKE, [bytes.path(), "/var/lib/muster".to_owned()]);
        let (path, opened) = (self.path.clone(), self.opened);
        let upload = Upload {
            name: "the content".into(),
            size: fs::metadata(&path).unwrap().len(),
            bytes,
            open: Arc::new(move |from| {
                let mut file = fs::File::open(&path)?;
                file.seek(SeekFrom::Start(from))?;
                let input = blocking_input(file);
                let Some(opened) = opened else { return Ok(input) };
                let mut opened = opened.lock().unwrap();
                opened.push(from);
                let left = STOPS.get(opened.len() - 1).map(|stop| stop - from);
                Ok(Box::new(Stopping { input, left }) as Input)
            }),
        };
        let change = Change { resource: self.label(), what: "got".into(), diff: None, momentary: false };
        Ok(Plan { changes: vec![change], script: Some(script), uploads: vec![upload] })
    }

    fn desired(&self) -> String {
        self.label()
    }

    fn takes_long(&self) -> bool {
        self.named
    }
}

/// What stops after so many bytes and never ends.
struct Stopping {
    input: Input,
    left: Option<u64>,
}

impl AsyncRead for Stopping {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        let Some(left) = self.left else { return Pin::new(&mut self.input).poll_read(cx, buf) };
        if left == 0 {
            return Poll::Pending;
        }
        let mut bytes = vec![0; buf.remaining().min(usize::try_from(left).unwrap())];
        let mut part = ReadBuf::new(&mut bytes);
        let poll = Pin::new(&mut self.input).poll_read(cx, &mut part);
        let read = part.filled().len();
        buf.put_slice(part.filled());
        self.left = Some(left - read as u64);
        poll
    }
}

const MB: u64 = 1 << 20;

#[tokio::test]
async fn machines_hand_on_what_they_have_and_this_side_sends_it_once() {
    for (role, count) in [("file", 7), ("named", 5)] {
        let machines = Machines::new(count, 12 << 20);
        let ran = machines.run(role, ROLES, None).await.well();
        machines.have_all();
        assert!(ran.sent < 14 * MB, "{role}: {} bytes were sent from here", ran.sent);
        assert!(ran.warnings().is_empty(), "{:?}", ran.warnings());

        let second = machines.run(role, ROLES, None).await.well();
        let exchanges = second.outcome.values().map(|host| host.summary.exchanges);
        assert_eq!(exchanges.collect::<Vec<_>>(), vec![3; count], "the facts, a look, the lock given back");
    }
}

#[tokio::test]
async fn for_a_few_machines_nothing_is_different() {
    let machines = Machines::new(3, 12 << 20);
    let nobody = |_: &Path| panic!("nobody hands anything on");
    let ran = machines.run("file", ROLES, Some(nobody)).await.well();
    machines.have_all();
    assert!(ran.sent > 36 * MB);
    for host in ran.outcome.values() {
        assert_eq!(
            host.summary.exchanges, 6,
            "facts, looks at the state and for the file, upload, change, lock"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_sshd_that_hands_on_lets_in_one_user_with_one_key_for_one_thing() {
    static SEEN: Mutex<Vec<(String, String)>> = Mutex::new(Vec::new());
    let machines = Machines::new(6, 12 << 20);
    let look = |share: &Path| {
        let read = |name: &str| fs::read_to_string(share.join(name)).unwrap();
        SEEN.lock().unwrap().push((read("config"), read("keys")));
    };
    machines.run("file", ROLES, Some(look)).await.well();
    let seen = SEEN.lock().unwrap();
    assert!(!seen.is_empty(), "nobody has handed anything on");
    let user = machines.all[0].sshd.user();
    for (config, keys) in seen.iter() {
        assert!(config.lines().any(|line| line == format!("AllowUsers {user}")), "{config}");
        assert!(
            keys.lines().count() == 1 && keys.starts_with("restrict,") && keys.contains("command=\""),
            "{keys}"
        );
    }
}

#[tokio::test]
async fn wrong_bytes_are_noticed_and_who_served_them_is_asked_no_more() {
    let machines = Machines::new(6, 12 << 20);
    let liar = |share: &Path| fs::write(share.join("give"), "head -c 12582912 /dev/zero").unwrap();
    let ran = machines.run("file", ROLES, Some(liar)).await.well();
    machines.have_all();
    let told = ran.warnings().iter().filter(|told| told.contains("handed on something else")).count();
    assert!(told > 0, "{:?}", ran.warnings());
    held(
        "wrong bytes",
        "a machine hands on zeros",
        1,
        "noticed by the sha256; all machines have the right bytes",
    );
}

#[tokio::test]
async fn what_a_machine_did_not_send_to_the_end_goes_on_from_another_source() {
    let machines = Machines::new(6, 12 << 20);
    // It notes from which byte on it was asked.
    let dies = |share: &Path| {
        let asked = share.parent().unwrap().parent().unwrap().join("asked");
        let give = format!(
            "set -- $SSH_ORIGINAL_COMMAND; echo $2 >>{}; tail -c +$(($2 + 1)) \"${{0%/*}}/$1\" | head -c 3000000; exit 1",
            asked.display()
        );
        fs::write(share.join("give"), give).unwrap();
    };
    let ran = machines.run("file", ROLES, Some(dies)).await.well();
    machines.have_all();
    let asked = |machine: &Machine| fs::read_to_string(machine.folder.join("asked"));
    let asked: String = machines.all.iter().filter_map(|machine| asked(machine).ok()).collect();
    assert!(asked.lines().any(|from| from == "0"), "{asked}");
    // Nothing comes twice: what arrived from machines was not sent from here.
    let pieces = asked.lines().count() as u64;
    let from_here = 6 * 12 * MB - pieces * 3_000_000;
    assert!(ran.sent < from_here + 2 * MB, "{} of {from_here}, in {pieces} pieces", ran.sent);
    held(
        "source dies",
        "each machine breaks off after 3 MB of 12",
        1,
        "the next source goes on at that byte",
    );
}

#[tokio::test]
async fn where_machines_cannot_reach_each_other_this_side_sends_and_says_so_once() {
    let machines = Machines::new(9, 12 << 20);
    let gone = |share: &Path| {
        let pid = fs::read_to_string(share.join("pid")).unwrap();
        muster_testkit::sshd::run(std::process::Command::new("kill").arg(pid.trim()));
    };
    let ran = machines.run("file", ROLES, Some(gone)).await.well();
    machines.have_all();
    let told = ran.warnings();
    assert_eq!(told.iter().filter(|told| told.contains("set fan_out: false")).count(), 1, "{told:?}");
    held(
        "machines cannot reach each other",
        "their extra sshds are killed",
        1,
        "this side sends, and says so once",
    );
}

#[tokio::test]
async fn a_broken_upload_goes_on_at_the_byte_where_it_stopped() {
    let machines = Machines::new(1, 20 << 20);
    let machine = &machines.all[0];
    let cut = async {
        for stop in STOPS {
            let part = || {
                let files = fs::read_dir(machine.folder.join("incoming")).ok()?;
                let lengths = files.filter_map(|file| Some(file.ok()?.metadata().ok()?.len()));
                lengths.max()
            };
            while part() != Some(stop) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            machine.sshd.cut_connections();
        }
    };
    let both = futures::future::join(machines.run("broken", ROLES, None), cut);
    let (ran, ()) = tokio::time::timeout(Duration::from_secs(120), both).await.expect("it goes on");
    let ran = ran.well();
    machines.have_all();
    assert_eq!(*OPENED.lock().unwrap(), [0, STOPS[0], STOPS[1]]);
    assert!(ran.sent < 21 * MB, "{} bytes were sent", ran.sent);
    assert_eq!(ran.events.iter().filter(|event| matches!(event, Event::Retrying { .. })).count(), 2);
    held(
        "connection cut",
        "an upload of 20 MB is cut at bytes 8 M and 13 M",
        STOPS.len(),
        "goes on at just that byte",
    );
}

#[tokio::test]
async fn what_takes_long_with_what_arrived_is_begun_once_though_the_connection_is_lost_under_it() {
    let machines = Machines::new(1, 6 << 20);
    let Machine { sshd, ssh, folder } = &machines.all[0];
    let hold = folder.join("hold");
    fs::create_dir_all(folder).unwrap();
    fs::write(&hold, "").unwrap();
    let lose = async {
        while !folder.join("began").exists() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let before = ssh.counters().exchanges;
        sshd.lose_connections();
        // It is asked for again while it is at work.
        while ssh.counters().exchanges == before {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        fs::remove_file(&hold).unwrap();
    };
    let both = futures::future::join(machines.run("named", ROLES, None), lose);
    let (ran, ()) = tokio::time::timeout(Duration::from_secs(120), both).await.expect("it goes on");
    let ran = ran.well();
    machines.have_all();
    assert_eq!(fs::read_to_string(folder.join("began")).unwrap(), "began\n");
    assert!(ran.sent < 7 * MB, "{} bytes were sent", ran.sent);
    assert_eq!(ran.events.iter().filter(|event| matches!(event, Event::Retrying { .. })).count(), 1);
    assert_eq!(
        ran.outcome["node1"].summary.exchanges, 7,
        "facts, looks at the state and for the file, upload, change, and the same again, lock"
    );
    held(
        "connection cut",
        "while what arrived is imported in a detached step, on a real sshd",
        1,
        "the step goes on, is found again, and was started once; nothing is sent twice",
    );
}

#[tokio::test]
async fn a_part_that_turns_out_wrong_is_sent_again_from_its_beginning() {
    let machines = Machines::new(1, 6 << 20);
    let incoming = machines.all[0].folder.join("incoming");
    fs::create_dir_all(&incoming).unwrap();
    let sha256: String = Sha256::digest(&machines.content).iter().map(|byte| format!("{byte:02x}")).collect();
    for length in [5 << 20, 6 << 20, 7 << 20] {
        fs::remove_file(machines.all[0].folder.join("got")).ok();
        // Zeros, as after a power cut.
        fs::write(incoming.join(format!("{sha256}.part")), vec![0; length]).unwrap();
        machines.run("file", ROLES, None).await.well();
        machines.have_all();
    }
    held("upload damaged", "a part of zeros, shorter, as long, longer", 3, "sent again from its beginning");
}
