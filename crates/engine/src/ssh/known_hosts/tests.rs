use super::*;

const ONE: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIB9dG4kjRhQTtWTVzd2t27+t0DEHBPW7iOD23TUiYLio";
const TWO: &str = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
const ECDSA: &str = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBHwf2HMM5TRXvo2SQJjsNkiDD5KqiiNjrGVv3UUh+mMT5RHxiRtOnlqvjhQtBq0VpmpCV/PwUdhOig4vkbqAcEc=";

struct Files {
    _dir: tempfile::TempDir,
    path: PathBuf,
}

fn files(text: &str) -> Files {
    let dir = tempfile::tempdir().expect("temporary directory");
    let path = dir.path().join("known_hosts");
    std::fs::write(&path, text).expect("a file");
    Files { _dir: dir, path }
}

fn key(text: &str) -> PublicKey {
    text.parse().expect("a key")
}

fn judge(text: &str, host: &str, port: u16, shown: &str) -> Verdict {
    let files = files(text);
    let (known, warnings) = KnownHosts::read(std::slice::from_ref(&files.path)).expect("a file");
    assert_eq!(warnings, Vec::<String>::new());
    known.judge(&HostName::new(host, port), &key(shown).into(), SystemTime::now())
}

#[test]
fn lines_name_machines_in_many_ways() {
    for (names, host, port, known) in [
        ("node1", "node1", 22, true),
        ("node1", "node2", 22, false),
        ("NODE1", "node1", 22, true),
        ("node1", "NODE1", 22, true),
        ("node0,node1,10.0.0.1", "10.0.0.1", 22, true),
        ("*", "anything", 22, true),
        ("*.lab", "a.b.lab", 22, true),
        ("*.lab", "lab", 22, false),
        ("node?", "node1", 22, true),
        ("node?", "node10", 22, false),
        ("*.lab,!gate.lab", "node.lab", 22, true),
        ("*.lab,!gate.lab", "gate.lab", 22, false),
        ("!gate.lab,*.lab", "gate.lab", 22, false),
        ("!gate.lab", "node.lab", 22, false),
        ("[node1]:2222", "node1", 2222, true),
        ("[node1]:2222", "node1", 22, false),
        ("[node1]:2222", "node1", 2223, false),
        ("[*.lab]:2222", "node1.lab", 2222, true),
        // A name without port counts for all ports, as with OpenSSH.
        ("node1", "node1", 2222, true),
        ("*.lab", "node1.lab", 2222, true),
        ("10.0.0.*", "10.0.0.17", 22, true),
        ("2001:db8::1", "2001:db8::1", 22, true),
        // HMAC-SHA1 of `node1` with the bytes 0 to 19 as the key, computed with Python's hmac.
        ("|1|AAECAwQFBgcICQoLDA0ODxAREhM=|mFkKXp7gYYtwrI9fxvaW8ybOwwo=", "node1", 22, true),
        ("|1|AAECAwQFBgcICQoLDA0ODxAREhM=|mFkKXp7gYYtwrI9fxvaW8ybOwwo=", "node9", 22, false),
    ] {
        let verdict = judge(&format!("{names} {ONE}\n"), host, port, ONE);
        assert_eq!(verdict == Verdict::Known, known, "{names} for {host}:{port}: {verdict:?}");
    }
}

#[test]
fn another_key_for_the_same_machine_is_a_change_only_if_none_fits() {
    assert_eq!(
        judge(&format!("a {ONE}\na {TWO}\n"), "a", 22, TWO),
        Verdict::Known,
        "two keys of one kind, one line each"
    );
    assert_eq!(judge("", "a", 22, ONE), Verdict::New);
    let Verdict::Changed { place, known } =
        judge(&format!("# c\n\na {ECDSA}\n a\t{ONE} user@host\n"), "a", 22, TWO)
    else {
        panic!("not changed");
    };
    assert_eq!(place.line, 4, "the line of the same kind of key");
    assert!(known.starts_with("ED25519 SHA256:"), "{known}");
    // A name without port helps a machine on another port, but does not speak against it: that is another sshd.
    assert_eq!(judge(&format!("a {ONE}\n"), "a", 2222, TWO), Verdict::New);
}

#[test]
fn revoked_keys_count_before_all_others() {
    let verdict = judge(&format!("a {ONE}\n@revoked * {ONE}\n"), "a", 22, ONE);
    assert!(matches!(verdict, Verdict::Revoked { place: Place { line: 2, .. } }), "{verdict:?}");
    assert_eq!(judge(&format!("@revoked * {TWO}\na {ONE}\n"), "a", 22, ONE), Verdict::Known);
    // The key of an authority is not a host key.
    assert_eq!(judge(&format!("@cert-authority * {ONE}\n"), "a", 22, ONE), Verdict::New);
}

#[test]
fn a_machine_that_is_named_to_be_certified_is_not_trusted_without_its_certificate() {
    for (names, host, port, refused) in [
        ("node1,192.0.2.4", "node1", 22, true),
        ("Node1", "node1", 2222, true),
        ("[node1]:2222", "node1", 2222, true),
        ("node1,192.0.2.4", "node2", 22, false),
        ("*", "node1", 22, false),
        ("node*", "node1", 22, false),
    ] {
        let verdict = judge(&format!("@cert-authority {names} {TWO}\n"), host, port, ONE);
        assert_eq!(
            matches!(verdict, Verdict::Uncertified { .. }),
            refused,
            "{names} {host}:{port} {verdict:?}"
        );
    }
    let known = format!("@cert-authority node1 {TWO}\nnode1 {ONE}\n");
    assert_eq!(judge(&known, "node1", 22, ONE), Verdict::Known);
}

#[test]
fn lines_without_sense_are_told_and_left_out() {
    let files = files(&format!("nonsense\na ssh-ed25519 AAAA\n@future * {ONE}\n# {ONE}\n\nb {ONE}\n"));
    let (known, warnings) = KnownHosts::read(std::slice::from_ref(&files.path)).expect("a file");
    assert_eq!(warnings.len(), 3, "{warnings:?}");
    let place = |line: usize| format!("{}:{line}: not a host key", files.path.display());
    assert!((1..=3).all(|line| warnings[line - 1].starts_with(&place(line))), "{warnings:?}");
    assert_eq!(known.judge(&HostName::new("b", 22), &key(ONE).into(), SystemTime::now()), Verdict::Known);
}

#[test]
fn a_line_is_appended_whole_whatever_the_file_ended_with() {
    for before in ["", "# no end", "# end\n"] {
        let files = files(before);
        let (known, _) = KnownHosts::read(std::slice::from_ref(&files.path)).expect("a file");
        let host = HostName::new("a", 2222);
        known.add(&host, &key(&format!("{ONE} user@host"))).expect("written");
        known.add(&host, &key(ONE)).expect("written before");
        let before = if before.is_empty() { String::new() } else { format!("{}\n", before.trim_end()) };
        assert_eq!(
            std::fs::read_to_string(&files.path).expect("a file"),
            format!("{before}[a]:2222 {ONE}\n")
        );
        assert_eq!(known.judge(&host, &key(ONE).into(), SystemTime::now()), Verdict::Known);
        let changed = known.judge(&host, &key(TWO).into(), SystemTime::now());
        let line = before.lines().count() + 1;
        assert!(matches!(&changed, Verdict::Changed { place, .. } if place.line == line), "{changed:?}");
    }
}

#[test]
fn many_processes_write_a_key_once() {
    let files = files("");
    std::thread::scope(|scope| {
        for n in 0..8 {
            let path = &files.path;
            scope.spawn(move || {
                let (known, _) = KnownHosts::read(std::slice::from_ref(path)).expect("a file");
                known.add(&HostName::new("a", 22), &key(ONE)).expect("written");
                known.add(&HostName::new(&format!("b{n}"), 22), &key(ONE)).expect("written");
            });
        }
    });
    let text = std::fs::read_to_string(&files.path).expect("a file");
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines.len(), 9, "{text}");
    assert_eq!(lines[0], format!("a {ONE}"));
}

#[test]
fn forgetting_a_machine_leaves_everything_else() {
    let node1 = "|1|AAECAwQFBgcICQoLDA0ODxAREhM=|mFkKXp7gYYtwrI9fxvaW8ybOwwo=";
    let files = files(&format!(
        "# c\na {ONE}\nb,A,c {TWO} me\n*.lab {ONE}\n@revoked a {TWO}\n[a]:22222 {ONE}\n{node1} {ONE}\nnonsense\n"
    ));
    let (known, _) = KnownHosts::read(std::slice::from_ref(&files.path)).expect("a file");
    let host = HostName::new("a", 22);
    known.forget(&host).expect("written");
    assert_eq!(
        std::fs::read_to_string(&files.path).expect("a file"),
        format!(
            "# c\nb,c {TWO} me\n*.lab {ONE}\n@revoked a {TWO}\n[a]:22222 {ONE}\n{node1} {ONE}\nnonsense\n"
        )
    );
    assert_eq!(known.judge(&host, &key(ONE).into(), SystemTime::now()), Verdict::New);
    known.forget(&HostName::new("node1", 22)).expect("written");
    assert!(!std::fs::read_to_string(&files.path).expect("a file").contains("|1|"), "a hashed name too");
    assert_eq!(known.judge(&HostName::new("b", 22), &key(TWO).into(), SystemTime::now()), Verdict::Known);
    assert_eq!(
        std::fs::read_dir(files.path.parent().expect("a folder")).expect("a folder").count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn what_a_certificate_is_for_decides() {
    use russh::keys::PrivateKey;
    use russh::keys::key::safe_rng;
    use russh::keys::ssh_key::certificate::Builder;

    let authority = PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).expect("a key");
    let certified = |kind: CertType, principals: &[&str], option: Option<&str>| {
        let machine = key(ONE).key_data().clone();
        let mut builder =
            Builder::new_with_random_nonce(&mut safe_rng(), machine, 1000, 2000).expect("a nonce");
        builder.cert_type(kind).expect("a kind");
        if principals.is_empty() {
            builder.all_principals_valid().expect("all");
        }
        for name in principals {
            builder.valid_principal(*name).expect("a name");
        }
        if let Some(option) = option {
            builder.critical_option(option, "").expect("an option");
        }
        builder.sign(&authority).expect("a signature")
    };
    let at = |seconds| UNIX_EPOCH + std::time::Duration::from_secs(seconds);
    let fault = |certificate: &Certificate, host, seconds| fault_of(certificate, host, at(seconds));

    let good = certified(CertType::Host, &["node1", "*.lab"], None);
    assert_eq!(fault(&good, "node1", 1000), None);
    assert_eq!(fault(&good, "a.lab", 1999), None);
    assert!(fault(&good, "node2", 1500).is_some_and(|said| said.contains("for node1, *.lab, not for node2")));
    assert!(fault(&good, "node1", 999).is_some_and(|said| said.contains("not valid yet")));
    assert!(fault(&good, "node1", 2000).is_some_and(|said| said.contains("expired")));
    assert_eq!(fault(&certified(CertType::Host, &[], None), "any", 1500), None, "no names are all names");
    let user = certified(CertType::User, &["node1"], None);
    assert!(fault(&user, "node1", 1500).is_some_and(|said| said.contains("for users")));
    let bound = certified(CertType::Host, &["node1"], Some("force-command"));
    assert!(fault(&bound, "node1", 1500).is_some_and(|said| said.contains("force-command")));

    // The authority must be one of the file, and for this machine; its own key is not enough.
    let line = |names: &str| {
        format!("@cert-authority {names} {}\n", authority.public_key().to_openssh().expect("text"))
    };
    let judge = |text: String, host: &str| {
        let files = files(&text);
        let (known, _) = KnownHosts::read(std::slice::from_ref(&files.path)).expect("a file");
        known.judge(&HostName::new(host, 2222), &good.clone().into(), at(1500))
    };
    assert_eq!(judge(line("node*"), "node1"), Verdict::Known);
    assert_eq!(judge(line("gate*"), "node1"), Verdict::New);
    assert_eq!(judge(format!("@cert-authority * {TWO}\n"), "node1"), Verdict::New);
    assert!(matches!(judge(line("*"), "node2"), Verdict::BadCertificate { .. }));
    assert!(matches!(judge(format!("{}@revoked * {ONE}\n", line("*")), "node1"), Verdict::Revoked { .. }));
}
