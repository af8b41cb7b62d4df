use secrecy::ExposeSecret;

use super::super::cloud::Login;
use super::*;

/// A home folder and a current folder with these files, and these variables.
struct Place {
    folder: tempfile::TempDir,
    surroundings: Surroundings,
}

fn place(files: &[(&str, &str)], variables: &[(&str, &str)]) -> Place {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    for (path, text) in files.iter().copied().chain([("home/.keep", ""), ("here/.keep", "")]) {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), text).unwrap();
    }
    let own = |value: &str| value.replace("ROOT", &root.display().to_string());
    let surroundings = Surroundings {
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), own(value))).collect(),
        home: Some(root.join("home")),
        here: root.join("here"),
    };
    Place { folder, surroundings }
}

impl Place {
    fn choose(&self, named: Option<&str>) -> Result<Cloud, String> {
        let root = self.folder.path().display().to_string();
        let chosen = Clouds::read(self.surroundings.clone()).and_then(|clouds| clouds.choose(named));
        chosen.map_err(|error| error.to_string().replace(&root, "ROOT"))
    }
}

const TWO: &str = "\
clouds:
  one:
    auth: {auth_url: 'http://one:5000', username: u, password: p, project_name: shop}
    region_name: RegionOne
  two:
    auth: {auth_url: 'https://two:5000/v3', username: u, project_name: shop}
    interface: internal
    verify: false
";

#[test]
fn the_first_file_in_the_order_of_places_counts() {
    let one = |url: &str| format!("clouds: {{a: {{auth: {{auth_url: '{url}', username: u, password: p}}}}}}");
    let (here, home, named) = (one("http://here"), one("http://home"), one("http://named"));
    let all = [
        ("here/clouds.yaml", here.as_str()),
        ("home/.config/openstack/clouds.yaml", home.as_str()),
        ("elsewhere/x.yaml", named.as_str()),
    ];
    let url = |files: &[(&str, &str)], variables: &[(&str, &str)]| {
        place(files, variables).choose(None).unwrap().auth_url
    };
    assert_eq!(url(&all, &[("OS_CLIENT_CONFIG_FILE", "ROOT/elsewhere/x.yaml")]), "http://named");
    assert_eq!(url(&all, &[]), "http://here");
    assert_eq!(url(&all[1..], &[]), "http://home");
    assert_eq!(url(&[("here/clouds.yml", here.as_str())], &[]), "http://here");
    assert_eq!(
        url(&[("etc/openstack/clouds.json", here.as_str())], &[("XDG_CONFIG_HOME", "ROOT/etc")]),
        "http://here"
    );
}

#[test]
fn a_cloud_is_chosen_by_name_by_variable_or_because_it_is_the_only_one() {
    let two = [("here/clouds.yaml", TWO), ("here/secure.yaml", "clouds: {two: {auth: {password: s}}}")];
    let cloud = place(&two, &[("OS_CLOUD", "two")]).choose(None).unwrap();
    assert_eq!(
        (cloud.auth_url.as_str(), cloud.interface.as_str(), cloud.verify),
        ("https://two:5000/v3", "internal", false)
    );
    let Login::Password { password, .. } = &cloud.login else { panic!("{cloud:?}") };
    assert_eq!(password.expose_secret(), "s", "the secret of secure.yaml");
    assert_eq!(place(&two, &[("OS_CLOUD", "two")]).choose(Some("one")).unwrap().auth_url, "http://one:5000");
    assert_eq!(
        place(&two, &[]).choose(None).unwrap_err(),
        "ROOT/here/clouds.yaml has several clouds (one, two), and none is chosen; name one with cloud: in the declaration, or with OS_CLOUD"
    );
    let wrong = place(&two, &[("OS_CLOUD", "tow")]).choose(None).unwrap_err();
    assert_eq!(wrong, "ROOT/here/clouds.yaml has no cloud \"tow\"; did you mean \"two\"?");
    let nowhere = place(&[], &[]).choose(None).unwrap_err();
    assert!(
        nowhere.contains("there is no clouds.yaml in ROOT/here, ROOT/home/.config/openstack"),
        "{nowhere}"
    );
}

#[test]
fn variables_win_over_the_cloud_that_a_variable_chooses_and_not_over_one_that_is_named() {
    let files = [("here/clouds.yaml", TWO)];
    let set =
        [("OS_CLOUD", "one"), ("OS_PASSWORD", "other"), ("OS_REGION_NAME", "Two"), ("OS_PROJECT_ID", "")];
    let password = |cloud: &Cloud| match &cloud.login {
        Login::Password { password, .. } => password.expose_secret().to_owned(),
        login => panic!("{login:?}"),
    };
    let chosen = place(&files, &set).choose(None).unwrap();
    assert_eq!((password(&chosen).as_str(), chosen.region.as_deref()), ("other", Some("Two")));
    let named = place(&files, &set).choose(Some("one")).unwrap();
    assert_eq!((password(&named).as_str(), named.region.as_deref()), ("p", Some("RegionOne")));
}

#[test]
fn a_cloud_may_be_described_by_variables_alone() {
    let set = [
        ("OS_AUTH_URL", "http://env:5000/v3"),
        ("OS_USERNAME", "u"),
        ("OS_PASSWORD", "p"),
        ("OS_PROJECT_NAME", "shop"),
        ("OS_USER_DOMAIN_NAME", "Default"),
        ("OS_TENANT_NAME", "old"),
        ("OS_CACERT", "ca.pem"),
        ("OS_ENDPOINT_TYPE", "publicURL"),
    ];
    let place = place(&[("here/clouds.yaml", TWO)], &set);
    let cloud = place.choose(None).unwrap();
    assert_eq!((cloud.auth_url.as_str(), cloud.interface.as_str()), ("http://env:5000/v3", "public"));
    assert!(cloud.cacert.unwrap().ends_with("here/ca.pem"));
    let Login::Password { user, project, .. } = &cloud.login else { panic!() };
    assert_eq!((user.domain_name.as_deref(), project.name.as_deref()), (Some("Default"), Some("shop")));
}

#[test]
fn an_application_credential_is_one_with_its_type_and_without() {
    for kind in ["auth_type: v3applicationcredential, ", ""] {
        let file = format!(
            "clouds: {{a: {{{kind}auth: {{auth_url: 'http://a', application_credential_id: 12, application_credential_secret: s}}}}}}"
        );
        let cloud = place(&[("here/clouds.yaml", &file)], &[]).choose(None).unwrap();
        let Login::ApplicationCredential { id, secret, .. } = &cloud.login else { panic!("{cloud:?}") };
        assert_eq!((id.as_deref(), secret.expose_secret()), (Some("12"), "s"));
    }
}

#[test]
fn what_is_wrong_is_said_without_showing_secrets() {
    let wrong = |file: &str| place(&[("here/clouds.yaml", file)], &[]).choose(None).unwrap_err();
    let no_yaml = wrong("clouds:\n  a: {auth: {password: 'geheim}\n");
    assert!(no_yaml.starts_with("ROOT/here/clouds.yaml:"), "{no_yaml}");
    assert!(!no_yaml.contains("geheim"), "{no_yaml}");
    assert_eq!(
        wrong("clouds: {a: {auth: {auth_url: 'http://a', username: u}}}"),
        "the cloud a has no password: it is set in clouds.yaml or secure.yaml, or as OS_PASSWORD"
    );
    assert_eq!(
        wrong("clouds: {a: {auth: {auth_url: 'a:5000'}}}"),
        "the auth_url of the cloud a is \"a:5000\"; it begins with http:// or https://"
    );
    assert_eq!(
        wrong("clouds: {a: {auth_type: v3kerberos, auth: {auth_url: 'http://a'}}}"),
        "the cloud a has auth_type: v3kerberos, which muster does not know; it knows password, v3applicationcredential and token"
    );
    assert_eq!(
        wrong("clouds: {a: {profile: vexxhost, auth: {username: u}}}"),
        "the cloud \"a\" has the profile \"vexxhost\", which no clouds-public.yaml describes; write its auth_url into the cloud"
    );
    let gone = place(&[], &[("OS_CLIENT_CONFIG_FILE", "ROOT/x.yaml")]).choose(None).unwrap_err();
    assert_eq!(gone, "ROOT/x.yaml, which OS_CLIENT_CONFIG_FILE names, is not there");
    assert!(
        !format!("{:?}", place(&[("here/clouds.yaml", TWO)], &[("OS_CLOUD", "one")]).choose(None).unwrap())
            .contains("\"p\"")
    );
}

#[test]
fn a_proxy_is_used_where_the_environment_says_so() {
    let set = [("http_proxy", "http://proxy:3128"), ("no_proxy", "localhost, .inside.example")];
    let proxy = |url: &str| place(&[], &set).surroundings.proxy(url);
    assert_eq!(proxy("http://cloud.example:5000/v3").as_deref(), Some("http://proxy:3128"));
    assert_eq!(proxy("http://cloud.inside.example/"), None);
    assert_eq!(proxy("https://cloud.example/"), None);
}
