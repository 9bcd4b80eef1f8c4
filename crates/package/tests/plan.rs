//! Where paths go when packages meet.

use std::{cell::RefCell, collections::BTreeMap};

use pixi_oci_layer::{Node, TreePath};
use pixi_oci_package::{Change, CompleteFacts, Error, LinkPlan, Links, PlanInput, link_plan};
use pixi_oci_testkit::packages::{self as common, *};
use rattler_conda_types::Subdir;
use tempfile::TempDir;

fn plans_of(packages: &[Package]) -> Result<Vec<LinkPlan>, Error> {
    let directory = TempDir::new().unwrap();
    let built: Vec<_> = packages.iter().map(|package| package.write(directory.path())).collect();
    let infos = built.iter().map(Built::info).collect::<Result<Vec<_>, _>>()?;
    plans(&built, &infos, Subdir::Linux64)
}

/// The paths of the merged tree below the prefix, without records; a link with its target.
fn paths(packages: &[Package]) -> Vec<String> {
    let directory = TempDir::new().unwrap();
    let built: Vec<_> = packages.iter().map(|package| package.write(directory.path())).collect();
    let tree = merged(trees(&built, Subdir::Linux64).unwrap());
    let below = tree.iter().filter_map(|(path, node)| {
        let path = path.as_str().strip_prefix("opt/pixi/env/").unwrap();
        (!path.starts_with("conda-meta/")).then(|| match node {
            Node::Symlink { target, .. } => format!("{path} -> {target}"),
            Node::Directory { .. } => format!("{path}/"),
            _ => path.to_owned(),
        })
    });
    below.collect()
}

fn at(path: &str) -> TreePath {
    TreePath::new(path).unwrap()
}

#[test]
fn paths_go_through_other_packages_linked_directories() {
    let link = package("link", [symlink("lib64", "lib"), file("lib/own", "")]);
    let user = package(
        "user",
        [file("lib64/x", ""), file("lib64/deep/y", ""), directory("lib64").list("path_type", "directory")],
    );
    for (link, user) in [(link.clone(), user.clone().depends(&["link"])), (link.depends(&["user"]), user)] {
        let expected = ["lib/", "lib/deep/y", "lib/own", "lib/x", "lib64 -> lib"];
        assert_eq!(paths(&[link.clone(), user.clone()]), expected);
        assert_eq!(paths(&[user.clone(), link.clone()]), expected);
        let plans = plans_of(&[link, user]).unwrap();
        assert_eq!(plans[0].changes, []);
        assert_eq!(
            plans[1].changes,
            [
                Change::Resolved { path: at("lib64"), to: at("lib") },
                Change::Resolved { path: at("lib64/deep/y"), to: at("lib/deep/y") },
                Change::Resolved { path: at("lib64/x"), to: at("lib/x") },
            ]
        );
    }
}

#[test]
fn links_lead_through_links_and_clobbers_are_decided_after_them() {
    let packages = [
        package("a", [symlink("lib64", "usr/lib64"), symlink("usr", "real/usr"), file("real/usr/f", "")]),
        package("b", [symlink("real/usr/lib64", "../lib")]),
        package("c", [file("lib64/x", "c")]),
        package("d", [file("real/lib/x", "d")]).depends(&["c"]),
        // A link that is itself below a linked directory.
        package("e", [symlink("usr/more", "../lib")]),
        package("f", [file("real/usr/more/z", "")]),
    ];
    let expected = [
        "__clobbers__/c/real/lib/x",
        "lib64 -> usr/lib64",
        "real/lib/x",
        "real/lib/z",
        "real/usr/f",
        "real/usr/lib64 -> ../lib",
        "real/usr/more -> ../lib",
        "usr -> real/usr",
    ];
    assert_eq!(paths(&packages), expected);
}

#[test]
fn of_two_links_at_one_place_the_one_that_stays_is_followed() {
    let link = |name: &str, depends: &[&str]| {
        package(name, [symlink("lib64", name), file(&format!("{name}/own"), "")]).depends(depends)
    };
    let user = package("user", [file("lib64/x", "")]);
    let expected = ["__clobbers__/a/lib64 -> a", "a/own", "b/own", "b/x", "lib64 -> b"];
    assert_eq!(paths(&[link("a", &[]), link("b", &["a"]), user.clone()]), expected);
    assert_eq!(paths(&[link("b", &["a"]), link("a", &[]), user.clone()]), expected);
    let expected = ["__clobbers__/b/lib64 -> b", "a/own", "a/x", "b/own", "lib64 -> a"];
    assert_eq!(paths(&[link("a", &["b"]), link("b", &[]), user.clone()]), expected);
    assert_eq!(paths(&[link("b", &[]), link("a", &["b"]), user]), expected);
}

#[test]
fn a_link_that_is_no_directory_contests_its_place() {
    // To a file; and one that loses its own place.
    let user = package("b", [file("d/x", "")]).depends(&["a"]);
    let to_file = package("a", [symlink("d", "f"), file("f", "")]);
    assert_eq!(paths(&[to_file.clone(), user.clone()]), ["__clobbers__/a/d -> f", "d/x", "f"]);
    let (to_file, user) = (to_file.depends(&["b"]), user.depends(&[]));
    assert_eq!(paths(&[to_file, user]), ["__clobbers__/b/d/x", "d -> f", "f"]);
    let link = package("a", [symlink("d", "lib")]);
    let file_wins = package("b", [file("d", "")]).depends(&["a"]);
    assert_eq!(paths(&[link.clone(), file_wins]), ["__clobbers__/a/d -> lib", "d"]);
    // To the prefix itself.
    let here = package("a", [symlink("d", ".")]);
    assert_eq!(paths(&[here, package("b", [file("d/x", "")])]), ["d -> .", "x"]);
}

#[test]
fn a_path_below_a_link_out_of_the_prefix_is_refused() {
    for target in ["/usr/lib", "../../lib"] {
        let outside = package("a", [symlink("d", target)]);
        let error = plans_of(&[outside, package("b", [file("d/x", "")]).depends(&["a"])]).unwrap_err().to_string();
        assert!(error.contains("\"d/x\" is below \"d\"") && error.contains("b-1.0-h1234567_0.conda"), "{error}");
    }
}

#[test]
fn link_loops_and_collisions_after_links_are_errors() {
    let loops = [package("a", [symlink("x", "y"), symlink("y", "x")]), package("b", [file("x/f", "")])];
    let error = plans_of(&loops).unwrap_err().to_string();
    assert!(error.contains("b-1.0-h1234567_0.conda") && error.contains("lead to one another"), "{error}");
    let twice = [package("a", [symlink("lib64", "lib")]), package("b", [file("lib64/f", ""), file("lib/f", "")])];
    let error = plans_of(&twice).unwrap_err().to_string();
    assert!(error.contains("\"lib64/f\"") && error.contains("\"lib/f\""), "{error}");
    let below = [package("a", [symlink("lib64", "lib")]), package("b", [file("lib64/f/g", ""), file("lib/f", "")])];
    let error = plans_of(&below).unwrap_err().to_string();
    assert!(error.contains("\"lib64/f/g\" is below \"lib/f\""), "{error}");
}

#[test]
fn links_from_outside_count_unless_a_package_has_the_path() {
    let directory = TempDir::new().unwrap();
    let built = [
        package("a", [file("lib64/x", ""), file("bin/y", "")]).write(directory.path()),
        package("b", [file("bin", "")]).write(directory.path()),
    ];
    let infos: Vec<_> = built.iter().map(|built| built.info().unwrap()).collect();
    let records: Vec<_> = built.iter().map(|built| built.package.record()).collect();
    let facts: Vec<_> = infos.iter().map(|info| info.facts()).collect();
    let inputs: Vec<_> = records.iter().zip(&facts).map(|(record, facts)| PlanInput { record, facts }).collect();
    let outside = Links::from([(at("lib64"), "lib".into()), (at("bin"), "lib".into())]);
    let plans = link_plan(&inputs, Subdir::Linux64, &outside, &mut |_| panic!("nobody's links are needed")).unwrap();
    assert!(plans[0].changes.contains(&Change::Resolved { path: at("lib64/x"), to: at("lib/x") }));
    assert!(
        plans[0].changes.iter().all(|change| !matches!(change, Change::Resolved { path, .. } if *path == at("bin/y")))
    );
}

#[test]
fn targets_are_asked_for_only_where_they_matter() {
    let directory = TempDir::new().unwrap();
    let built = [
        package("a", [symlink("lib/libx.so", "libx.so.1"), file("lib/libx.so.1", "")]).write(directory.path()),
        package("b", [symlink("lib64", "lib")]).write(directory.path()),
        package("c", [file("lib64/one", ""), file("lib64/two", "")]).write(directory.path()),
    ];
    let infos: Vec<_> = built.iter().map(|built| built.info().unwrap()).collect();
    let records: Vec<_> = built.iter().map(|built| built.package.record()).collect();
    let facts: Vec<_> = infos.iter().map(|info| info.facts()).collect();
    let inputs: Vec<_> = records.iter().zip(&facts).map(|(record, facts)| PlanInput { record, facts }).collect();
    let asked = RefCell::new(Vec::new());
    link_plan(&inputs, Subdir::Linux64, &Links::new(), &mut |package| {
        asked.borrow_mut().push(package);
        pixi_oci_package::read_links(&built[package].path, &infos[package])
    })
    .unwrap();
    assert_eq!(*asked.borrow(), [1]);
}

#[test]
fn plans_do_not_depend_on_the_order_of_packages() {
    let mut packages = vec![
        python("3.12.1"),
        package("a", [file("bin/x", "a"), file("d", "a"), symlink("lib64", "lib")]),
        package("b", [file("bin/x", "b"), file("d/e", "b"), file("lib64/f", "b")]).depends(&["a"]),
        package("c", [file("bin/x", "c"), file("d/e", "c"), file("d/g", "c"), file("lib/f", "c")]),
        package("n", [file("site-packages/n.py", "")]).noarch("python").entry_points(&["x = n:main"]),
        package("e", [directory("empty").list("path_type", "directory")]),
        package(
            "g",
            [directory("empty").list("path_type", "directory"), directory("d").list("path_type", "directory")],
        ),
    ];
    let by_name = |packages: &[Package]| -> BTreeMap<String, LinkPlan> {
        packages.iter().map(|package| package.name.clone()).zip(plans_of(packages).unwrap()).collect()
    };
    let first = by_name(&packages);
    for _ in 0..packages.len() {
        packages.rotate_left(1);
        packages.swap(0, 3);
        assert_eq!(by_name(&packages), first);
        // The trees of an environment never contradict each other.
        paths(&packages);
    }
}

#[test]
fn entry_points_take_part_in_clobbers_and_overwrite_their_own_packages_files() {
    let tool = |name: &str| {
        package(name, [file(&format!("site-packages/{name}.py"), ""), file("python-scripts/own", "script")])
            .noarch("python")
            .entry_points(&[
                &format!("tool = {name}:main"),
                &format!("own = {name}:first"),
                &format!("own = {name}:last"),
            ])
    };
    let packages =
        [python("3.12.1"), tool("a"), tool("b").depends(&["a"]), package("c", [file("bin/tool", "")]).depends(&["b"])];
    assert_eq!(
        paths(&packages),
        [
            "__clobbers__/a/bin/own",
            "__clobbers__/a/bin/tool",
            "__clobbers__/b/bin/tool",
            "bin/own",
            "bin/python3.12",
            "bin/tool",
            "lib/python3.12/site-packages/a.py",
            "lib/python3.12/site-packages/b.py",
        ]
    );
    let plans = plans_of(&packages).unwrap();
    let own = plans[2].entry_points.iter().find(|planned| planned.path == at("bin/own")).unwrap();
    assert_eq!(own.entry_point.function, "last");
    assert_eq!(plans[2].python.as_ref().unwrap().site_packages, at("lib/python3.12/site-packages"));
    assert_eq!(plans[3].python, None);
}

#[test]
fn noarch_python_needs_a_usable_python() {
    let pure = package("pure", [file("site-packages/x.py", "")]).noarch("python");
    let error = plans_of(std::slice::from_ref(&pure)).unwrap_err();
    assert!(matches!(&error, Error::NoPython { package } if package == "pure-1.0-h1234567_0.conda"), "{error}");
    for hostile in ["../../etc", "/usr/lib", "conda-meta", "a\nb"] {
        let mut python = python("3.12.1");
        python.index["python_site_packages_path"] = hostile.into();
        let error = plans_of(&[python, pure.clone()]).unwrap_err();
        assert!(matches!(error, Error::Python { .. }), "{error}");
    }
    assert!(matches!(plans_of(&[python("3"), pure.clone()]), Err(Error::Python { .. })));
    let collides = package("pure", [file("site-packages/x.py", ""), file("lib/python3.12/site-packages/x.py", "")]);
    let error = plans_of(&[python("3.12.1"), collides.noarch("python")]).unwrap_err().to_string();
    assert!(error.contains("same place"), "{error}");
}

#[test]
fn two_packages_of_one_name_are_refused() {
    let error = plans_of(&[package("a", []), package("a", []).version("2.0")]).unwrap_err();
    assert!(matches!(error, Error::PackageTwice { package } if package == "a"));
}

#[test]
fn facts_that_a_tree_completed_decide_the_same_as_the_archive() {
    let directory = TempDir::new().unwrap();
    let built = [
        package("a", [symlink("lib64", "lib"), file("lib/a", ""), common::directory("share/empty")])
            .write(directory.path()),
        package("b", [file("lib64/b", ""), file("lib/a", "")]).write(directory.path()),
    ];
    let infos: Vec<_> = built.iter().map(|built| built.info().unwrap()).collect();
    let made = trees(&built, Subdir::Linux64).unwrap();
    let complete: Vec<CompleteFacts> = infos
        .iter()
        .zip(&made)
        .map(|(info, (_, tree))| serde_json::to_string(&info.complete_facts(tree)).unwrap())
        .map(|stored| serde_json::from_str(&stored).unwrap())
        .collect();
    for ((built, info), complete) in built.iter().zip(&infos).zip(&complete) {
        assert_eq!(complete.facts, info.facts());
        assert_eq!(complete.links, pixi_oci_package::read_links(&built.path, info).unwrap());
    }
    let records: Vec<_> = built.iter().map(|built| built.package.record()).collect();
    let inputs: Vec<_> =
        records.iter().zip(&complete).map(|(record, complete)| PlanInput { record, facts: &complete.facts }).collect();
    let plans = link_plan(&inputs, Subdir::Linux64, &Links::new(), &mut |index| Ok(complete[index].links.clone()));
    assert_eq!(plans.unwrap(), made.into_iter().map(|(plan, _)| plan).collect::<Vec<_>>());
}
