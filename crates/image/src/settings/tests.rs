use super::*;

fn check(change: impl FnOnce(&mut ImageSettings)) -> Result<(), Error> {
    let mut settings = ImageSettings::default();
    change(&mut settings);
    settings.check()
}

#[test]
fn env() {
    let env = |name: &str, value: &str| check(|s| s.env = vec![(name.into(), value.into())]);
    env("PATH", "/usr/bin:/bin").unwrap();
    env("ODD.name-1", "a=b\tc").unwrap();
    for (name, value) in [("", "x"), ("A=B", "x"), ("A\n", "x"), ("A\0", "x"), ("A", "x\ny"), ("A", "x\r"), ("A", "\0")]
    {
        assert!(matches!(env(name, value), Err(Error::Env { .. })), "{name:?}={value:?}");
    }
    let twice = vec![("A".to_owned(), "1".to_owned()), ("A".to_owned(), "2".to_owned())];
    assert_eq!(check(|s| s.env = twice).unwrap_err().to_string(), "environment variable \"A\": it is set twice");
}

#[test]
fn a_secret_value_is_not_in_the_error() {
    let error = check(|s| s.env = vec![("TOKEN".into(), "hunter2\n".into())]).unwrap_err();
    assert!(!error.to_string().contains("hunter2"));
}

#[test]
fn user() {
    let user = |text: &str| check(|s| s.user = Some(text.into()));
    for good in ["0", "1000:1000", "nonroot", "app.user:www-data", "2147483647:0", "Machine$", "_apt:12", "1a"] {
        user(good).unwrap();
    }
    for bad in
        ["", ":", "a:", ":a", "a:b:c", "-1", "2147483648", "0:4294967296", "99999999999999999999", "a b", "a\n", "../x"]
    {
        assert!(user(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn workdir() {
    let workdir = |text: &str| check(|s| s.workdir = Some(text.into()));
    for good in ["/", "/app", "/app/..data", "/procfs", "/a b/é"] {
        workdir(good).unwrap();
    }
    for bad in ["", "app", "/app/", "//app", "/a/../b", "/a/./b", "/proc", "/proc/self/fd/7", "/a\nb", "/a\0"] {
        assert!(workdir(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn ports() {
    let port = |text: &str| check(|s| s.exposed_ports = [text.to_owned()].into());
    for bad in ["", "0", "65536", "80/http", "80/", "/tcp", "+80", "80-90", "tcp/80", " 80"] {
        assert!(port(bad).is_err(), "{bad:?}");
    }
    let settings = ImageSettings {
        exposed_ports: ["80", "80/tcp", "53/udp", "8080/sctp"].map(str::to_owned).into(),
        ..ImageSettings::default()
    };
    settings.check().unwrap();
    let ports: Vec<String> = settings.ports_with_protocol().into_iter().collect();
    assert_eq!(ports, ["53/udp", "80/tcp", "8080/sctp"]);
}

#[test]
fn volumes_signals_arguments() {
    check(|s| s.volumes = ["/data/".to_owned()].into()).unwrap();
    assert!(check(|s| s.volumes = ["data".to_owned()].into()).is_err());
    assert!(check(|s| s.volumes = ["/a/../etc".to_owned()].into()).is_err());
    check(|s| s.stop_signal = Some("SIGRTMIN+3".into())).unwrap();
    check(|s| s.stop_signal = Some("15".into())).unwrap();
    assert!(check(|s| s.stop_signal = Some("SIG TERM".into())).is_err());
    check(|s| s.cmd = Some(vec![])).unwrap();
    check(|s| s.cmd = Some(vec!["sh".into(), "-c".into(), "a\nb".into(), String::new()])).unwrap();
    assert!(check(|s| s.entrypoint = Some(vec![String::new()])).is_err());
    assert!(check(|s| s.entrypoint = Some(vec!["a\0".into()])).is_err());
}

#[test]
fn labels_and_annotations() {
    check(|s| drop(s.labels.insert("a.b/c".into(), "text, ä".into()))).unwrap();
    let error = check(|s| drop(s.labels.insert("key".into(), "a\nb".into()))).unwrap_err();
    assert_eq!(error.to_string(), "label \"key\": the value contains a newline or NUL");
    assert!(check(|s| drop(s.manifest_annotations.insert("a\x1b".into(), "".into()))).is_err());
    assert!(check(|s| drop(s.manifest_annotations.insert("".into(), "".into()))).is_err());
}
