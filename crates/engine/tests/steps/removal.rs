//! What was brought about is taken away again by the same definition, whatever happens on the way.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;

use muster_engine::prelude::*;
use muster_testkit::fault_record::held;

use crate::shell::{Cut, Shell};
use crate::{SHELLS, TURN, at, folder, fresh, run, tree};

/// What the role has, in one place.
fn owned(owner: &str, group: &str) -> Resources {
    let file = |name: &str| file(at(name)).owner(owner).group(group);
    Resources::new()
        .with(dir(at("a/b")).owner(owner).group(group))
        .with(file("a/b/text").content("one\ntwo\n"))
        .with(file("a/loose").content("x\n"))
        .with(file("a/secret").secret("s3cret\n"))
        .with(link(at("a/link"), "b/text"))
        .with(line(at("a/list"), "wanted line"))
        .with(service("app").masked())
}

async fn me(host: &Host) -> Result<[String; 2]> {
    let me = host.query(sh0("id -un; id -gn")).await?.output;
    let mut me = me.lines().map(str::to_owned);
    Ok([me.next().unwrap(), me.next().unwrap()])
}

pub(crate) async fn install(host: &Host) -> Result<()> {
    let [owner, group] = me(host).await?;
    let applied = host.step("bring").ensure_all(owned(&owner, &group)).await?;
    host.step("restart").ensure(service("app").restart_on(&[&applied])).await.map(drop)
}

pub(crate) async fn remove(host: &Host) -> Result<()> {
    let [owner, group] = me(host).await?;
    host.step("take away").remove_all(owned(&owner, &group)).await.map(drop)
}

/// Takes away what the test says.
pub(crate) async fn rejected(host: &Host) -> Result<()> {
    let path = fs::read_to_string(at("path")).unwrap();
    let step = host.step("take away");
    match path.split_once(' ').unwrap() {
        ("dir", path) => step.remove(dir(path)).await,
        ("file", path) => step.remove(file(path)).await,
        ("link", path) => step.remove(link(path, "")).await,
        (_, path) => step.remove(line(path, "x")).await,
    }
    .map(drop)
}

const COMMANDS: &str = include_str!("commands.sh");

fn machine(words: &[&'static str], temporary: &Path) -> Shell {
    Shell::new(words, temporary).with(COMMANDS)
}

/// A folder with what others have in it, and mounts.
fn prepare(temporary: &Path) {
    fresh(&temporary.join("f"));
    fs::create_dir_all(temporary.join("units")).unwrap();
    fs::remove_file(temporary.join("units/app.service")).ok();
    fs::remove_dir_all(temporary.join("devices")).ok();
    fs::write(temporary.join("mountinfo"), "").unwrap();
}

/// Mounts things below a folder of the role, one below the other and one in a name with a space.
fn mount(temporary: &Path) {
    let mut mounts = format!(
        "20 1 8:1 / / rw shared:1 - ext4 /dev/a rw\n30 20 8:2 / {}/ab rw - ext4 /dev/b rw\n",
        at("a")
    );
    for (number, name) in ["pods", "pods/in", "with space"].into_iter().enumerate() {
        let point = at(&format!("a/b/{name}"));
        fs::create_dir_all(&point).unwrap();
        fs::write(format!("{point}/data"), "of the device").unwrap();
        let point = point.replace(' ', "\\040");
        mounts += &format!("{} 20 0:{number} / {point} rw,relatime - tmpfs tmpfs rw\n", number + 31);
    }
    fs::write(temporary.join("mountinfo"), mounts).unwrap();
}

fn unit(temporary: &Path) -> String {
    fs::read_to_string(temporary.join("units/app.service")).unwrap_or_default()
}

#[tokio::test]
async fn what_a_role_has_is_taken_away_in_the_opposite_order_and_a_second_run_changes_nothing() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    let temporary = temporary.path();
    for words in SHELLS {
        prepare(temporary);
        let before = tree(Path::new(&folder()));
        run("owned", Arc::new(machine(words, temporary)), false).await.well();
        assert_eq!(unit(temporary), "active enabled\n");
        assert!(temporary.join("muster/stamps/app.service").exists());
        mount(temporary);

        let check = run("disowned", Arc::new(machine(words, temporary)), true).await.well();
        assert!(Path::new(&at("a/b/text")).exists() && unit(temporary).starts_with("active"));
        let done = run("disowned", Arc::new(machine(words, temporary)), false).await.well();
        assert_eq!(check.changes, done.changes, "{words:?}: what is looked at is what is done");
        let told: Vec<_> =
            done.changes.iter().map(|change| format!("{}: {}", change.resource, change.what)).collect();
        let b = at("a/b");
        assert_eq!(
            told,
            [
                "service app: stopped, disabled, masked".into(),
                format!("line in {}: removed: wanted line", at("a/list")),
                format!("link {}: removed", at("a/link")),
                format!("file {}: removed", at("a/secret")),
                format!("file {}: removed", at("a/loose")),
                format!("file {b}/text: removed"),
                format!("directory {b}: removed, after unmounting {b}/pods, {b}/pods/in, {b}/with space"),
            ],
            "{words:?}"
        );
        let diffs: Vec<_> = done.changes.iter().filter_map(|change| change.diff.as_deref()).collect();
        assert!(diffs.iter().any(|diff| diff.contains("-one\n-two\n")), "{diffs:?}");
        assert!(diffs.iter().any(|diff| diff.contains(" two\n-wanted line\n")), "{diffs:?}");
        assert!(!format!("{:?}", done.changes).contains("s3cret"), "a secret is in what is shown");
        assert_eq!(unit(temporary), "inactive masked\n");
        assert!(!temporary.join("muster/stamps/app.service").exists());
        // Others' lines stay, and what was mounted is whole.
        let gone = ["a/no-newline", "a/gone", "folder"];
        let left = tree(Path::new(&folder()));
        assert!(gone.iter().all(|name| left.iter().any(|(path, ..)| path == name)), "{left:#?}");
        assert_eq!(left.len(), before.len(), "{left:#?}");
        assert_eq!(fs::read_to_string(at("a/list")).unwrap(), "one\ntwo\n");
        let data = ["pods", "in", "with space"]
            .map(|name| temporary.join("devices").join(name).join("data").exists());
        assert_eq!(data, [true; 3], "{words:?}");

        let again = run("disowned", Arc::new(machine(words, temporary)), false).await.well();
        assert_eq!((again.changes.len(), again.exchanges), (0, 1), "{words:?}: {:?}", again.changes);
        // And back.
        run("owned", Arc::new(machine(words, temporary)), false).await.well();
        assert_eq!(
            (unit(temporary).as_str(), Path::new(&at("a/b/text")).exists()),
            ("active enabled\n", true)
        );
        assert!(!temporary.join("wrong").exists());
    }
}

#[tokio::test]
async fn a_connection_lost_before_or_after_any_exchange_of_a_removal_leaves_the_same_state() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    let temporary = temporary.path();
    let prepared = async || {
        prepare(temporary);
        run("owned", Arc::new(machine(&["dash"], temporary)), false).await.well();
        mount(temporary);
    };
    prepared().await;
    let undisturbed = Arc::new(machine(&["dash"], temporary));
    run("disowned", undisturbed.clone(), false).await.well();
    let wanted = (tree(Path::new(&folder())), unit(temporary));
    let mut cuts = 0;
    for number in 0..undisturbed.programs().len() {
        for cut in [Cut::Before(number), Cut::After(number)] {
            cuts += 1;
            prepared().await;
            run("disowned", Arc::new(machine(&["dash"], temporary).cut(cut)), false).await;
            run("disowned", Arc::new(machine(&["dash"], temporary)), false).await.well();
            assert_eq!((tree(Path::new(&folder())), unit(temporary)), wanted, "{cut:?}");
            let last = run("disowned", Arc::new(machine(&["dash"], temporary)), false).await;
            assert!(last.changes.is_empty(), "{cut:?}: {:?}", last.changes);
        }
    }
    held(
        "connection cut",
        "before and after each exchange of a removal, one after the other",
        cuts,
        "it or the next run takes everything away; the run after that changes nothing",
    );
}

/// It would be there again after the next boot, with all that was in it.
#[tokio::test]
async fn a_folder_that_is_a_disk_of_its_own_is_emptied_and_stays() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    let temporary = temporary.path();
    for words in SHELLS {
        prepare(temporary);
        run("owned", Arc::new(machine(words, temporary)), false).await.well();
        fs::write(at("a/b/.hidden"), "").unwrap();
        let mounts =
            format!("20 1 8:1 / / rw - ext4 /dev/a rw\n30 20 8:2 / {} rw - ext4 /dev/b rw\n", at("a/b"));
        fs::write(temporary.join("mountinfo"), mounts).unwrap();
        fs::write(at("path"), format!("dir {}", at("a/b"))).unwrap();
        let done = run("rejected", Arc::new(machine(words, temporary)), false).await.well();
        assert_eq!(done.changes[0].what, "emptied, because it is a disk of its own", "{words:?}");
        assert_eq!(fs::read_dir(at("a/b")).unwrap().count(), 0, "{words:?}");
        let again = run("rejected", Arc::new(machine(words, temporary)), false).await.well();
        assert!(again.changes.is_empty(), "{words:?}: {:?}", again.changes);
    }
}

#[tokio::test]
async fn a_folder_that_a_link_leads_to_is_emptied_and_the_link_stays() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    let temporary = temporary.path();
    for words in SHELLS {
        prepare(temporary);
        fs::create_dir_all(at("disk/lead/.hidden")).unwrap();
        fs::write(at("disk/lead/text"), "").unwrap();
        fs::write(at("disk/other"), "").unwrap();
        symlink(at("disk/lead"), at("lead")).unwrap();
        symlink(at("nowhere"), at("lost")).unwrap();
        fs::write(at("path"), format!("dir {}", at("lead"))).unwrap();
        let done = run("rejected", Arc::new(machine(words, temporary)), false).await.well();
        assert_eq!(done.changes[0].what, "emptied, because a link leads to it", "{words:?}");
        assert_eq!(fs::read_dir(at("lead")).unwrap().count(), 0, "{words:?}");
        assert!(Path::new(&at("lead")).is_symlink() && Path::new(&at("disk/other")).exists(), "{words:?}");
        // A folder of another name may be a whole disk.
        symlink(at("disk"), at("whole")).unwrap();
        fs::write(at("path"), format!("dir {}", at("whole"))).unwrap();
        let refused = run("rejected", Arc::new(machine(words, temporary)), false).await;
        let failure = format!("{:?}", refused.outcome["here"].failure);
        assert!(failure.contains("which may hold more"), "{words:?}: {failure}");
        assert!(Path::new(&at("disk/other")).exists(), "{words:?}");
        for path in ["lead", "lost"] {
            fs::write(at("path"), format!("dir {}", at(path))).unwrap();
            let again = run("rejected", Arc::new(machine(words, temporary)), false).await.well();
            assert!(again.changes.is_empty(), "{words:?} {path}: {:?}", again.changes);
        }
    }
}

#[tokio::test]
async fn what_is_mounted_and_cannot_be_unmounted_is_named_and_nothing_is_removed() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    let temporary = temporary.path();
    for words in SHELLS {
        prepare(temporary);
        run("owned", Arc::new(machine(words, temporary)), false).await.well();
        mount(temporary);
        fs::write(at("path"), format!("dir {}", at("a/b"))).unwrap();
        fs::write(temporary.join("busy"), "").unwrap();
        let ran = run("rejected", Arc::new(machine(words, temporary)), false).await;
        let Some(Failure::Change { tail, .. }) = &ran.outcome["here"].failure else {
            panic!("{:?}", ran.outcome)
        };
        let mount = at("a/b/with space");
        assert!(
            tail.contains(&format!(
                "umount: {mount}: target is busy.\n{mount} is mounted and cannot be unmounted"
            )),
            "{tail}"
        );
        assert!(
            Path::new(&at("a/b/text")).exists() && Path::new(&at("a/b/pods/in/data")).exists(),
            "{words:?}"
        );
        fs::remove_file(temporary.join("busy")).unwrap();
        // Nobody can say what is mounted.
        fs::remove_file(temporary.join("mountinfo")).unwrap();
        let ran = run("rejected", Arc::new(machine(words, temporary)), false).await;
        let failure = ran.outcome["here"].failure.as_ref().unwrap().to_string();
        assert!(failure.contains("it cannot be said what is mounted below"), "{words:?}: {failure}");
        assert!(Path::new(&at("a/b/text")).exists());
    }
}

#[tokio::test]
async fn what_is_something_else_than_it_should_be_is_not_removed() {
    let _turn = TURN.lock().await;
    let temporary = tempfile::tempdir().unwrap();
    let temporary = temporary.path();
    prepare(temporary);
    symlink("/usr", at("etc")).unwrap();
    symlink("/etc/passwd", at("file")).unwrap();
    for (what, name, told) in [
        ("file", at("folder"), "is a directory, and a file was to be removed"),
        ("dir", at("a/gone"), "is no directory, and a directory was to be removed"),
        ("dir", at("etc"), "/usr is not muster's alone, and is never removed"),
        ("dir", at("file"), "leads to no directory, and a directory was to be removed"),
        ("dir", at("etc/bin"), "/usr/bin is not muster's alone, and is never removed"),
        ("dir", "/usr".into(), "/usr is not muster's alone, and is never removed"),
        ("link", at("a/gone"), "is no link, and a link was to be removed"),
        ("line", at("folder"), "is no file, and a line was to be taken out of it"),
    ] {
        fs::write(at("path"), format!("{what} {name}")).unwrap();
        let ran = run("rejected", Arc::new(machine(&["dash"], temporary)), true).await;
        let failure = ran.outcome["here"].failure.as_ref().map(ToString::to_string).unwrap_or_default();
        assert!(failure.ends_with(told), "{what} {name}: {failure}");
    }
    // What is not there at all is no problem.
    for what in ["file", "dir", "link", "line"] {
        fs::write(at("path"), format!("{what} {}", at("never"))).unwrap();
        let ran = run("rejected", Arc::new(machine(&["dash"], temporary)), false).await.well();
        assert!(ran.changes.is_empty(), "{what}");
    }
}
