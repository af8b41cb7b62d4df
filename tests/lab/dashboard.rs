//! The dashboard in a real browser: students log in with their tokens, and see what is theirs and nothing else.

use std::fs;
use std::time::Duration;

use crate::browser::{self, Browser};
use crate::fixture::{Lab, bundle_has};

const PORT: &str = "31447";

#[test]
fn a_student_logs_in_to_the_dashboard_and_sees_what_is_hers_alone() {
    if !bundle_has("headlamp") || !browser::is_there() {
        eprintln!(
            "skipped: it needs muster bundle build --with dashboard, and Debian's chromium and chromium-driver"
        );
        return;
    }
    let lab = Lab::up(180, &["-n", "1"]);
    let (folder, address) = (lab.inventory_of_one(), lab.address(1));
    let set = |text: &str| fs::write(folder.join("group_vars/all.yml"), text).unwrap();
    let run = |words: &[&str]| {
        let ended = lab.muster(words);
        assert_eq!(ended.code, 0, "{ended:#?}");
        ended
    };
    let kubectl = |words: &[&str]| run(&[&["kubectl"], words].concat()).out;
    let everything = || {
        let kinds =
            "namespaces,serviceaccounts,secrets,services,deployments,clusterroles,clusterrolebindings";
        kubectl(&["get", kinds, "-A", "-o", "name"])
    };
    run(&["setup-cluster"]);
    let before = everything();
    assert_eq!(lab.muster(&["dashboard"]).code, 1);

    set(&format!("dashboard_enabled: true\ndashboard_nodeport: {PORT}\n"));
    run(&["setup-cluster", "--tags", "dashboard"]);
    assert_eq!(run(&["setup-cluster"]).recap("node1", "changed"), 0);
    let told = run(&["apps"]).out;
    assert!(told.contains("well") && told.contains(PORT), "{told}");

    // Who has not logged in sees nothing, also past the pages.
    let site = format!("https://{address}:{PORT}");
    for path in ["api/v1/pods", "api/v1/namespaces", "apis"] {
        let url = format!("{site}/clusters/main/{path}");
        let code = lab.exec(&["curl", "-sk", "-o", "/dev/null", "-w", "%{http_code}", &url]);
        assert!(["401", "403"].contains(&code.out.as_str()), "{path}: {code:#?}");
    }

    // The tokens that are given: one to look around, one that may do everything.
    let login = |words: &[&str]| {
        let ended = run(&[&["dashboard"], words].concat());
        let mut lines = ended.out.lines().map(str::to_owned);
        (lines.next().unwrap(), lines.next().unwrap())
    };
    let may = |token: &str, words: &[&str]| {
        let token = format!("--token={token}");
        let ended = lab.muster(&[&["kubectl", "--kubeconfig=/dev/null", &token], words].concat());
        ended.out.trim() == "yes"
    };
    let server = format!("--server=https://{address}:6443");
    let can = |token: &str, verb: &str, what: &str| {
        may(token, &[&server, "--insecure-skip-tls-verify", "auth", "can-i", verb, what, "-A"])
    };
    let (at, viewer) = login(&[]);
    assert_eq!(at, site);
    assert!(can(&viewer, "list", "pods") && can(&viewer, "list", "nodes"));
    assert!(!can(&viewer, "list", "secrets") && !can(&viewer, "delete", "pods"));
    let (_, admin) = login(&["--admin", "--for", "10m"]);
    assert!(can(&admin, "list", "secrets") && can(&admin, "delete", "pods"));

    run(&["students", "anna jan", "create"]);
    let image = lab.agnhost();
    for (student, pod) in [("anna", "notes-of-anna"), ("jan", "notes-of-jan")] {
        kubectl(&["-n", student, "run", pod, "--image", &image, "--", "pause"]);
        kubectl(&["-n", student, "wait", "--for=condition=Ready", &format!("pod/{pod}"), "--timeout=120s"]);
    }
    let token = run(&["student-tokens", "anna"]).out;

    let browser = Browser::open(&lab);
    let pods_of = |student: &str| format!("{site}/c/main/pods?namespace={student}");
    browser.go(&pods_of("anna"));
    browser.shows("Authenticate");
    browser.picture("dashboard-login");
    browser.types("#token", "no token of this cluster");
    browser.press("Authenticate");
    browser.shows("Error authenticating");
    browser.types("#token", token.trim());
    browser.press("Authenticate");
    let text = browser.shows("notes-of-anna");
    assert!(!text.contains("notes-of-jan"), "{text}");
    browser.picture("dashboard-own-pods");
    browser.go(&pods_of("jan"));
    let text = browser.shows("You don't have permissions to view this resource");
    assert!(!text.contains("notes-of-jan"), "{text}");
    browser.picture("dashboard-others-pods");
    drop(browser);

    // Where no node can be reached: a port of this computer.
    let mut forward = lab.start(&["dashboard", "--open", "--port", "8444"]);
    forward.until("Forwarding from");
    let page = lab.exec(&["curl", "-sk", "--retry", "5", "--retry-all-errors", "https://localhost:8444/"]);
    assert!(page.out.contains("<title>Headlamp"), "{page:#?}");
    forward.signal("TERM");
    forward.end();

    // Its certificate is kept; one that is damaged is made anew, and its pods have it.
    let secret = ["-n", "dashboard", "get", "secret", "certificate", "-o", "jsonpath={.data}"];
    let certificate = kubectl(&secret);
    assert!(certificate.contains("tls.key"));
    let broken = "{\"data\": {\"tls.crt\": \"bm90aGluZw==\"}}";
    kubectl(&["-n", "dashboard", "patch", "secret", "certificate", "-p", broken]);
    let mended = run(&["setup-cluster", "--tags", "dashboard", "-v"]);
    assert!(mended.all().contains("made anew: it cannot be read"), "{mended:#?}");
    std::thread::sleep(Duration::from_secs(1));
    kubectl(&["-n", "dashboard", "rollout", "status", "deployment/dashboard", "--timeout=60s"]);
    assert_eq!(run(&["setup-cluster"]).recap("node1", "changed"), 0);

    // It takes no namespace that is somebody else's, and takes nobody's things along when it goes.
    let own = folder.join("extension");
    fs::create_dir(&own).unwrap();
    let namespace = "{apiVersion: v1, kind: Namespace, metadata: {name: web}}";
    fs::write(own.join("a.yaml"), namespace).unwrap();
    let inside = "{apiVersion: v1, kind: ConfigMap, metadata: {name: inside, namespace: dashboard}}";
    fs::write(own.join("b.yaml"), inside).unwrap();
    run(&["setup-cluster", "--tags", "extension"]);
    let refused = lab.muster(&["setup-cluster", "--tags", "dashboard", "-e", "dashboard_namespace=web"]);
    let why = "Namespace web belongs to your own objects, in the folder extension, and would go with that";
    assert!(refused.code == 2 && refused.all().contains(why), "{refused:#?}");
    assert_eq!(run(&["setup-cluster"]).recap("node1", "changed"), 0);
    let kept = lab.muster(&["setup-cluster", "--tags", "apps", "-e", "dashboard_enabled=false"]);
    let why = "the namespace dashboard would go with what is in it of extension: ConfigMap inside";
    assert!(kept.code == 2 && kept.all().contains(why), "{kept:#?}");
    assert_eq!(run(&["setup-cluster"]).recap("node1", "changed"), 0);
    fs::remove_file(own.join("a.yaml")).unwrap();
    fs::remove_file(own.join("b.yaml")).unwrap();
    run(&["setup-cluster", "--tags", "extension"]);

    // Switched off, nothing of it is left.
    run(&["students", "anna jan", "delete"]);
    set("");
    run(&["setup-cluster", "--tags", "apps"]);
    assert_eq!(everything(), before);
}
