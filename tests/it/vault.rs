//! Where the passwords of encrypted variables come from.

use crate::fixture::{Ended, Test, muster};

/// `secret` is `hunter2`, encrypted with the password `swordfish`.
const VAULT: &str = include_str!("vault.yml");

fn project() -> Test {
    muster()
        .file("inventory/hosts.ini", "[kube_node]\nnode1\n")
        .file("inventory/group_vars/kube_node.yml", VAULT)
        .file("right", "  swordfish\n\n")
        .file("wrong", "marlin\n")
        .file("empty", "\n")
}

fn secret(test: &Test, arguments: &[&str]) -> Ended {
    test.run(&[&["vars", "node1", "secret"][..], arguments].concat())
}

#[track_caller]
fn opens(test: &Test, arguments: &[&str]) -> Ended {
    let ended = secret(test, arguments).code(0);
    assert_eq!(ended.stdout, "hunter2\n");
    ended
}

#[test]
fn files_and_programs_are_named_in_every_way_ansible_knows() {
    let test = project().program("print-it", "#!/bin/sh\n[ $# = 0 ] && echo swordfish\n");
    for from in ["right", "./print-it"] {
        opens(&test, &["--vault-password-file", from]);
        opens(&test, &["--vault-pass-file", from]);
        opens(&test, &["--vault-id", from]);
        opens(&test, &["--vault-id", &format!("label@{from}")]);
    }
    opens(&project().set("ANSIBLE_VAULT_PASSWORD_FILE", "right"), &[]);
    opens(&project().set("ANSIBLE_VAULT_IDENTITY_LIST", "a@wrong, b@right"), &[]);
    opens(&project().file("ansible.cfg", "[defaults]\nvault_password_file = right\n"), &[]);
    opens(&project().file("ansible.cfg", "[defaults]\nvault_identity_list = a@wrong, b@right\n"), &[]);
    // Both count, the file of ansible.cfg and that of the command line.
    let test = project().file("ansible.cfg", "[defaults]\nvault_password_file = right\n");
    opens(&test, &["--vault-password-file", "wrong"]);
}

#[test]
fn client_programs_are_told_the_label() {
    let client = "#!/bin/sh\n[ \"$*\" = '--vault-id prod' ] && { echo swordfish; exit; }\n\
                  [ \"$*\" = '--vault-id default' ] && { echo swordfish; exit; }\nexit 2\n";
    let test = project().program("keyring-client", client).program("keyring-client.sh", client);
    for name in ["keyring-client", "keyring-client.sh"] {
        opens(&test, &["--vault-id", &format!("prod@{name}")]);
        opens(&test, &["--vault-password-file", name]);
        let ended = secret(&test, &["--vault-id", &format!("dev@{name}")]).code(1);
        ended
            .stderr(&format!("error: {name} has no vault password with the label \"dev\""))
            .nothing_written();
    }
}

#[test]
fn a_password_file_may_itself_be_encrypted_with_a_password_given_before() {
    // The value of `secret`, as a file of its own: it holds `hunter2`, which opens nothing here.
    let lines: Vec<&str> = VAULT.lines().skip(1).map(str::trim).collect();
    let test = project().file("locked", &(lines.join("\n") + "\n"));
    opens(&test, &["--vault-id", "right", "--vault-password-file", "locked"]);
    let ended = secret(&test, &["--vault-password-file", "locked"]).code(1);
    ended.stderr_has(&["cannot read the vault password file locked: it is encrypted", "no vault password"]);
}

#[test]
fn a_password_is_typed_where_there_is_a_terminal() {
    let test = project();
    for (arguments, prompt) in [
        (&["-J"][..], "Vault password: "),
        (&["--vault-id", "prod@prompt"], "Vault password (prod): "),
        (&["--vault-id", "@prompt"], "Vault password (default): "),
    ] {
        let ended =
            test.run_in_terminal(&[&["vars", "node1", "secret"][..], arguments].concat(), "swordfish\n");
        let ended = ended.code(0).stdout_has(&[prompt, "hunter2"]);
        let shown = ended.stdout.split_once(prompt).expect("a prompt").1;
        assert!(!shown.contains("swordfish"), "{}", ended.stdout);
    }
    let ended = test.run_in_terminal(&["vars", "node1", "secret", "-J"], "\n");
    ended.code(1).stdout_has(&["no vault password was typed"]);
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    for arguments in [&["-J"][..], &["--vault-id", "prod@prompt"]] {
        let ended = secret(&project(), arguments).code(1).nothing_written();
        ended.stderr_has(&[
            "error: cannot ask for a password: ",
            "hint: run it in a terminal, or put the password into a file",
        ]);
    }
}

#[test]
fn a_wrong_password_is_told_with_the_place_of_what_it_does_not_open() {
    let ended = secret(&project(), &["--vault-password-file", "wrong"]).code(4).nothing_written();
    ended.stderr_has(&[
        "error: PROJECT/inventory/group_vars/kube_node.yml:1:",
        "none of the vault passwords given decrypts it",
    ]);
}

#[test]
fn what_gives_no_password_is_an_error_only_where_nothing_else_does() {
    let test = project()
        .program("fails", "#!/bin/sh\nexit 3\n")
        .program("words", "swordfish\n")
        .program("lost", "#!/no/such/interpreter\n");
    for (from, said) in [
        ("nowhere", "cannot read the vault password file nowhere: No such file"),
        ("empty", "empty gives an empty vault password"),
        ("fails", "fails, which is to print the vault password, ended with exit status: 3"),
        ("words", "chmod -x words"),
        ("lost", "is the interpreter in its first line installed?"),
    ] {
        secret(&test, &["--vault-password-file", from])
            .code(1)
            .nothing_written()
            .stderr_has(&["error: ", said]);
    }
    let ended = opens(&test, &["--vault-password-file", "nowhere", "--vault-id", "right"]);
    ended.stderr_has(&["warning: cannot read the vault password file nowhere"]);
}
