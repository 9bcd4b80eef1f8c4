use std::path::Path;

use crate::{
    ArchiveLocation, Error, LockFile, LockedPackage, PlatformWanted, PypiSourceKind, WheelOrigin, minimum, requirements,
};
use pixi_oci_workspace::ManifestPlatform;

const SHA: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn parse(text: &str) -> LockFile {
    LockFile::parse(Path::new("/ws/pixi.lock"), text).unwrap_or_else(|e| panic!("{e}"))
}

fn packages(lock: &LockFile, environment: &str, platform: &str) -> Result<Vec<LockedPackage>, Error> {
    let platform = lock.select_platform(environment, &PlatformWanted::Name(platform.to_owned()), &[])?;
    lock.packages(environment, &platform)
}

fn names(packages: &[LockedPackage]) -> Vec<String> {
    packages.iter().map(LockedPackage::name).collect()
}

/// A v6 lock of one environment and platform: locations, and the packages' entries.
fn v6(locations: &[&str], entries: &str) -> String {
    let listed: String = locations.iter().map(|l| format!("      - {l}\n")).collect();
    format!(
        "version: 6\nenvironments:\n  default:\n    channels:\n    - url: https://h.example/c/\n    packages:\n      linux-64:\n{listed}packages:\n{entries}"
    )
}

#[test]
fn v4_and_v5() {
    for version in [4, 5] {
        let lock = parse(&format!(
            "version: {version}
environments:
  default:
    channels:
    - url: https://h.example/c/
    indexes: []
    packages:
      linux-64:
      - conda: https://h.example/c/linux-64/b-1.0-h1_0.tar.bz2
      - conda: https://h.example/c/noarch/a-2.0-py_0.conda
      - pypi: https://h.example/w/w_x-1.0-py3-none-any.whl
      - pypi: .
packages:
- kind: conda
  name: b
  version: '1.0'
  build: h1_0
  subdir: linux-64
  url: https://h.example/c/linux-64/b-1.0-h1_0.tar.bz2
  sha256: {SHA}
  size: 17
- kind: conda
  name: a
  version: '2.0'
  build: py_0
  subdir: noarch
  noarch: python
  url: https://h.example/c/noarch/a-2.0-py_0.conda
  sha256: {SHA}
- kind: pypi
  name: w-x
  version: '1.0'
  url: https://h.example/w/w_x-1.0-py3-none-any.whl
  sha256: {SHA}
  requires_python: '>=3.8'
- kind: pypi
  name: app
  version: '0.1'
  path: .
  sha256: {SHA}
  editable: true
"
        ));
        assert_eq!(lock.version(), version);
        assert_eq!(lock.environments(), ["default"]);
        let packages = packages(&lock, "default", "linux-64").unwrap();
        assert_eq!(names(&packages), ["b", "a", "pypi:app", "pypi:w-x"]);
        assert_eq!((packages[0].size(), packages[1].size()), (Some(17), None));
        assert_eq!(packages[0].sha256().unwrap().to_string(), SHA);
        let LockedPackage::Wheel(wheel) = &packages[3] else { panic!("{:?}", packages[3]) };
        assert_eq!(wheel.file_name, "w_x-1.0-py3-none-any.whl");
        assert_eq!(wheel.requires_python.as_deref(), Some(">=3.8"));
        assert!(matches!(&packages[2], LockedPackage::PypiSource { kind: PypiSourceKind::Directory, .. }));
        assert_eq!(packages[2].sha256(), None);
    }
}

#[test]
fn v6_with_sources_and_local_channels() {
    let lock = parse(&v6(
        &[
            "conda: https://user:secret@h.example/t/tk-1/c/linux-64/a-1.0-h1_3.conda",
            "conda: file:///chan/linux-64/b-1.0-h1_0.conda",
            "conda: ./chan/noarch/c-1.0-pyh1_0.conda",
            "conda: ../src",
            "pypi: https://h.example/torch-2.1.0%2Bcu118-cp312-cp312-linux_x86_64.whl#x=y",
            "pypi: ./dist/p-1.0-py3-none-any.whl",
            "pypi: https://h.example/s-1.0.tar.gz",
            "pypi: git+https://h.example/g.git?rev=main#0123",
        ],
        &format!(
            "- conda: https://user:secret@h.example/t/tk-1/c/linux-64/a-1.0-h1_3.conda
  sha256: {SHA}
  size: 5
  depends:
  - __glibc >=2.28,<3.0.a0
  constrains:
  - __cuda >=12
- conda: file:///chan/linux-64/b-1.0-h1_0.conda
  channel: file:///chan
  subdir: linux-64
  sha256: {SHA}
- conda: ./chan/noarch/c-1.0-pyh1_0.conda
  channel: null
  subdir: noarch
  sha256: {SHA}
- conda: ../src
  name: src
  version: '1'
  subdir: linux-64
- pypi: https://h.example/torch-2.1.0%2Bcu118-cp312-cp312-linux_x86_64.whl#x=y
  name: torch
  version: 2.1.0+cu118
- pypi: ./dist/p-1.0-py3-none-any.whl
  name: p
  version: '1.0'
  sha256: {SHA}
- pypi: https://h.example/s-1.0.tar.gz
  name: s
  version: '1.0'
  sha256: {SHA}
- pypi: git+https://h.example/g.git?rev=main#0123
  name: g
  version: '1.0'
"
        ),
    ));
    let packages = packages(&lock, "default", "linux-64").unwrap();
    assert_eq!(names(&packages), ["c", "b", "a", "src", "pypi:p", "pypi:g", "pypi:s", "pypi:torch"]);
    let LockedPackage::Conda(a) = &packages[2] else { panic!() };
    assert_eq!((a.package_record.build_number, a.package_record.subdir.as_str()), (3, "linux-64"));
    let path = |index: usize| match &packages[index] {
        LockedPackage::Conda(record) => ArchiveLocation::Url(record.url.clone()).local_path().unwrap(),
        LockedPackage::Wheel(wheel) => wheel.location.local_path().unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        [1, 0, 4].map(path),
        ["/chan/linux-64/b-1.0-h1_0.conda", "/ws/chan/noarch/c-1.0-pyh1_0.conda", "/ws/dist/p-1.0-py3-none-any.whl"]
            .map(Path::new)
    );
    let LockedPackage::CondaSource { name, place, .. } = &packages[3] else { panic!() };
    assert_eq!((name.as_str(), place.local_path().as_deref()), ("src", Some(Path::new("/src"))));
    let LockedPackage::Wheel(torch) = &packages[7] else { panic!() };
    assert_eq!(torch.file_name, "torch-2.1.0+cu118-cp312-cp312-linux_x86_64.whl");
    assert_eq!(torch.origin, WheelOrigin::Index);
    assert_eq!(torch.sha256, None);
    let LockedPackage::Wheel(path) = &packages[4] else { panic!() };
    assert_eq!(path.origin, WheelOrigin::Path("./dist/p-1.0-py3-none-any.whl".into()));
    let LockedPackage::PypiSource { kind, sha256, place: ArchiveLocation::Url(url), .. } = &packages[6] else {
        panic!()
    };
    assert_eq!((*kind, sha256.unwrap().to_string().as_str()), (PypiSourceKind::Sdist, SHA));
    assert_eq!(url.as_str(), "https://h.example/s-1.0.tar.gz");
    assert!(matches!(&packages[5], LockedPackage::PypiSource { kind: PypiSourceKind::Git, .. }));

    let requirements = requirements(&packages);
    assert_eq!(requirements.len(), 2);
    let glibc = minimum(&requirements, "__glibc").unwrap();
    assert_eq!((glibc.package.as_str(), glibc.minimum.as_ref().unwrap().to_string().as_str()), ("a", "2.28"));
    assert!(minimum(&requirements, "__cuda").unwrap().constraint);
}

const V7: &str = "version: 7
platforms:
- name: linux-64
  virtual-packages:
  - __unix=0=0
  - __linux=4.18
  - __glibc=2.28
  - __archspec=0=x86_64
- name: p1
  subdir: linux-64
  virtual-packages:
  - __cuda=12
  - __unix=0=0
  - __linux=4.18
  - __glibc=2.28
  - __archspec=0=x86_64
- name: p2
  subdir: linux-aarch64
  virtual-packages:
  - __unix=0=0
  - __linux=5.10
  - __glibc=2.34
  - __archspec=0=aarch64
  - __cuda=13
- name: linux-s390x
- name: osx-arm64
environments:
  default:
    channels:
    - url: https://h.example/c/
    packages:
      p1:
      - conda: https://h.example/c/linux-64/gpu-1.0-h1_0.conda
      linux-64:
      - conda: https://h.example/c/linux-64/cpu-1.0-h1_0.conda
      p2:
      - conda: chan/noarch/local-1.0-h1_0.conda
      linux-s390x: []
      osx-arm64: []
packages:
- conda: https://h.example/c/linux-64/gpu-1.0-h1_0.conda
  sha256: SHA
- conda: https://h.example/c/linux-64/cpu-1.0-h1_0.conda
  sha256: SHA
- conda: chan/noarch/local-1.0-h1_0.conda
  subdir: noarch
  sha256: SHA
";

#[test]
fn v7_platforms_get_the_manifests_names() {
    let platform = |name: &str, subdir: &str, packages: &[&str]| ManifestPlatform {
        name: name.to_owned(),
        subdir: subdir.to_owned(),
        virtual_packages: packages.iter().map(|p| p.parse().unwrap()).collect(),
    };
    let manifest = [
        platform("linux-64", "linux-64", &[]),
        platform("linux-64-cuda", "linux-64", &["__cuda=12"]),
        // The lock file was written by a pixi with other defaults.
        platform("jetson", "linux-aarch64", &["__cuda=13"]),
    ];
    let lock = parse(&V7.replace("SHA", SHA)).with_platform_names(&manifest);
    let platforms = lock.platforms("default").unwrap();
    let shown: Vec<_> = platforms.iter().map(|p| (p.name.as_str(), p.lock_name.as_str(), p.is_supported())).collect();
    assert_eq!(
        shown,
        [
            ("jetson", "p2", true),
            ("linux-64", "linux-64", true),
            ("linux-64-cuda", "p1", true),
            ("linux-s390x", "linux-s390x", false),
        ]
    );
    assert_eq!(platforms[2].extras.iter().map(ToString::to_string).collect::<Vec<_>>(), ["__cuda=12"]);
    assert_eq!(platforms[2].virtual_packages[0], "__cuda=12");
    for (wanted, expected) in [("linux-64", "cpu"), ("linux-64-cuda", "gpu"), ("p1", "gpu"), ("linux-aarch64", "local")]
    {
        assert_eq!(names(&packages(&lock, "default", wanted).unwrap()), [expected], "{wanted}");
    }
    let unnamed = parse(&V7.replace("SHA", SHA));
    assert_eq!(unnamed.platforms("default").unwrap()[2].name, "p1");
    assert_eq!(unnamed.channels("default").unwrap(), ["https://h.example/c/"]);
    assert!(matches!(
        unnamed.platforms("none"),
        Err(Error::Workspace(pixi_oci_workspace::Error::UnknownEnvironment { .. }))
    ));
}

#[test]
fn bad_packages_are_named() {
    let conda = "conda: https://h.example/c/linux-64/a-1.0-h1_0.conda";
    let other = "conda: https://h.example/c/linux-64/a-2.0-h1_0.conda";
    let sha = format!("  sha256: {SHA}\n");
    let cases = [(v6(&[conda, other], &format!("- {conda}\n{sha}- {other}\n{sha}")), "package a: it is locked twice")];
    for (text, message) in cases {
        let error = packages(&parse(&text), "default", "linux-64").unwrap_err().to_string();
        assert!(error.starts_with("/ws/pixi.lock") && error.contains(message), "{error}");
    }
}

#[test]
fn packages_without_a_sha256_can_be_pinned() {
    let conda = "conda: https://h.example/c/linux-64/a-1.0-h1_0.conda";
    for hash in ["", "  md5: 0123456789abcdef0123456789abcdef\n"] {
        let mut lock = parse(&v6(&[conda], &format!("- {conda}\n{hash}")));
        assert_eq!(packages(&lock, "default", "linux-64").unwrap()[0].sha256(), None);
        lock.hashes = [("a".to_owned(), SHA.parse().unwrap())].into();
        assert_eq!(packages(&lock, "default", "linux-64").unwrap()[0].sha256().unwrap().to_string(), SHA);
    }
    // What is locked stays.
    let mut lock = parse(&v6(&[conda], &format!("- {conda}\n  sha256: {SHA}\n")));
    lock.hashes = [("a".to_owned(), "0".repeat(64).parse().unwrap())].into();
    assert_eq!(packages(&lock, "default", "linux-64").unwrap()[0].sha256().unwrap().to_string(), SHA);
}

#[test]
fn versions_and_nonsense() {
    let error = |text: &str| LockFile::parse(Path::new("/ws/pixi.lock"), text).unwrap_err().to_string();
    assert!(error("version: 8\nfuture: true\n").contains("lock file version 8 is newer than this pixi-oci reads (7)"));
    assert!(error("{version: 9}").contains("lock file version 9 is newer"));
    let old = error("version: 0\nmetadata: {}\npackage: []\n");
    assert!(old.contains("too old") && old.contains("run `pixi lock`"), "{old}");
    for text in
        ["", "version: x", "[]", "version: 6", "version: 6\nenvironments: 3\npackages: []", "\u{0}", "a: &a [*a, *a]"]
    {
        assert!(error(text).contains("/ws/pixi.lock: "), "{text:?}");
    }
    let missing = v6(&["conda: https://u:secret@h.example/c/linux-64/a-1.0-h1_0.conda"], "");
    let error = error(&format!("{} []", missing.trim_end()));
    assert!(error.contains("https://***@h.example/c/linux-64/a-1.0-h1_0.conda"), "{error}");
    let error = LockFile::read(Path::new("/nowhere/pixi.lock")).unwrap_err().to_string();
    assert_eq!(error, "there is no lock file /nowhere/pixi.lock; run `pixi lock` or `pixi-oci lock` to make one");
}

#[test]
fn direct_urls_of_wheels_are_told_from_those_of_an_index() {
    let md5 = "0123456789abcdef0123456789abcdef";
    let lock = parse(&v6(
        &[
            "pypi: direct+https://user:secret@h.example/d-1.0-py3-none-any.whl?a=b",
            "pypi: file:///w/e-1.0-py3-none-any.whl",
        ],
        &format!(
            "- pypi: direct+https://user:secret@h.example/d-1.0-py3-none-any.whl?a=b
  name: d
  version: '1.0'
  md5: {md5}
- pypi: file:///w/e-1.0-py3-none-any.whl
  name: e
  version: '1.0'
"
        ),
    ));
    let packages = packages(&lock, "default", "linux-64").unwrap();
    let [LockedPackage::Wheel(e), LockedPackage::Wheel(d)] = &packages[..] else { panic!("{packages:?}") };
    let url: url::Url = "https://user:secret@h.example/d-1.0-py3-none-any.whl?a=b".parse().unwrap();
    assert_eq!((&d.origin, &d.location), (&WheelOrigin::Url(url.clone()), &crate::ArchiveLocation::Url(url)));
    assert_eq!((d.file_name.as_str(), d.md5.as_deref()), ("d-1.0-py3-none-any.whl", Some(md5)));
    assert_eq!(
        (&e.origin, e.location.local_path()),
        (&WheelOrigin::Path("/w/e-1.0-py3-none-any.whl".into()), Some("/w/e-1.0-py3-none-any.whl".into()))
    );
}

#[test]
fn formats_of_one_environment() {
    let package = "- name: a\n  version: '1.0'\n  manager: conda\n  platform: linux-64\n  dependencies: {}\n  \
                   url: https://h.example/c/linux-64/a-1.0-h1_0.conda\n  hash:\n    sha256: SHA\n  optional: false\n  \
                   category: main\n  build: h1_0\n  subdir: linux-64\n  build_number: 0\n";
    for version in 1..=3 {
        let lock = parse(&format!(
            "version: {version}\nmetadata:\n  content_hash: {{}}\n  channels:\n  - url: https://h.example/c/\n    \
             used_env_vars: []\n  platforms:\n  - linux-64\n  sources: []\npackage:\n{}",
            package.replace("SHA", SHA)
        ));
        assert_eq!(lock.version(), version);
        let packages = packages(&lock, "default", "linux-64").unwrap();
        assert_eq!(
            (names(&packages), packages[0].sha256().unwrap().to_string()),
            (vec!["a".to_owned()], SHA.to_owned())
        );
    }
}

#[test]
fn a_conda_package_may_lack_the_sha256() {
    let conda = "conda: https://h.example/c/linux-64/a-1.0-h1_0.conda";
    for hash in ["", "  md5: 0123456789abcdef0123456789abcdef\n"] {
        let packages = packages(&parse(&v6(&[conda], &format!("- {conda}\n{hash}"))), "default", "linux-64").unwrap();
        assert_eq!(packages[0].sha256(), None);
    }
}
