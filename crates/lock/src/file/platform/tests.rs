use rattler_conda_types::Subdir;

use super::*;

fn platform(name: &str, subdir: Subdir, extras: &[&str]) -> LockedPlatform {
    LockedPlatform {
        name: name.to_owned(),
        lock_name: format!("lock-{name}"),
        subdir,
        virtual_packages: Vec::new(),
        extras: extras.iter().map(|text| text.parse().unwrap()).collect(),
    }
}

/// Platforms of the lock file; what is assumed; what is chosen for linux-64, or part of the error.
type Case<'a> = (&'a [LockedPlatform], &'a [&'a str], Result<&'a str, &'a str>);

#[test]
fn selects_by_subdir_and_virtual_packages() {
    let plain = platform("linux-64", Subdir::Linux64, &[]);
    let cuda12 = platform("cuda12", Subdir::Linux64, &["__cuda=12"]);
    let cuda13 = platform("cuda13", Subdir::Linux64, &["__cuda=13", "__glibc=2.35"]);
    let arm = platform("linux-aarch64", Subdir::LinuxAarch64, &[]);
    let all = [plain.clone(), cuda12.clone(), cuda13.clone(), arm.clone()];
    let (plain, cuda12, cuda13) = (&[plain][..], &[cuda12][..], &[cuda13][..]);
    let two_cudas = [cuda12, cuda13].concat();
    let plain_and_12 = [plain, cuda12].concat();

    let cases: [Case<'_>; 12] = [
        (&all, &[], Ok("linux-64")),
        (&all, &["__cuda=12.6"], Ok("cuda12")),
        (&all, &["__cuda=13.1", "__glibc=2.39"], Ok("cuda13")),
        (&all, &["__cuda=13.1"], Ok("cuda12")),
        (&all, &["__cuda=11.8"], Ok("linux-64")),
        (&all, &["__glibc=2.40"], Ok("linux-64")),
        (cuda12, &[], Ok("cuda12")),
        (cuda12, &["__cuda=11"], Err("not locked for linux-64 with __cuda=11; it is locked for `cuda12`")),
        (
            &two_cudas,
            &[],
            Err("`cuda12` (__cuda=12), `cuda13` (__cuda=13, __glibc=2.35); choose one with `--platform NAME`"),
        ),
        (&two_cudas, &["__cuda=12.6"], Ok("cuda12")),
        (&plain_and_12, &["__cuda=12"], Ok("cuda12")),
        (&all[3..], &[], Err("not locked for linux-64; it is locked for `linux-aarch64`")),
    ];
    for (platforms, assumed, expected) in cases {
        let parsed: Vec<VirtualPackage> = assumed.iter().map(|text| text.parse().unwrap()).collect();
        let chosen = select("default", platforms, &PlatformWanted::Subdir(Subdir::Linux64), &parsed);
        match (chosen, expected) {
            (Ok(chosen), Ok(expected)) => assert_eq!(chosen.name, expected, "{assumed:?}"),
            (Err(error), Err(expected)) => assert!(error.to_string().contains(expected), "{error}"),
            (chosen, _) => panic!("{assumed:?}: {chosen:?}"),
        }
    }
}

#[test]
fn selects_by_name() {
    let all = [
        platform("linux-64", Subdir::Linux64, &[]),
        platform("gpu", Subdir::Linux64, &["__cuda=12"]),
        platform("arm-gpu", Subdir::LinuxAarch64, &["__cuda=12"]),
        platform("s390", Subdir::LinuxS390X, &[]),
    ];
    let by_name = |name: &str| {
        select("e", &all, &PlatformWanted::Name(name.to_owned()), &[]).map(|p| p.name).map_err(|e| e.to_string())
    };
    assert_eq!(by_name("gpu").as_deref(), Ok("gpu"));
    assert_eq!(by_name("lock-gpu").as_deref(), Ok("gpu"));
    assert_eq!(by_name("linux-64").as_deref(), Ok("linux-64"));
    // No platform is called so, but it is a subdir, and one platform has it.
    assert_eq!(by_name("linux-aarch64").as_deref(), Ok("arm-gpu"));
    assert!(by_name("gpuu").unwrap_err().contains("not locked for platform `gpuu`"));
    assert!(by_name("s390").unwrap_err().contains("(linux-s390x) is not supported"));
    assert!(by_name("osx-64").unwrap_err().contains("not locked for platform `osx-64`"));
}
