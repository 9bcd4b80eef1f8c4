//! Under which tag a repository has the image that is most like what is going to be published.

use pixi_oci_project::version::Version;

use super::{
    plan::{TagPlan, TagTarget},
    staging::is_staging_tag,
    template::{TagTemplate, TemplateKind, release_of_tag, tag_text, without_suffix},
    wanted::TagPlanInput,
};

/// So many images are looked into where names do not tell.
const MOST: usize = 3;
/// What a default branch is called where only `{branch}` is configured.
const DEFAULT_BRANCHES: [&str; 2] = ["main", "master"];

/// The tag whose image has the most layers in common with what gets the tags of `plan`: one that is put again, else that of
/// the default branch, else `latest`, else that of the newest release. Where there is none of these, a few of which the images
/// themselves say which is the newest.
pub fn baseline_tags(input: &TagPlanInput<'_>, plan: Option<&TagPlan>) -> Vec<String> {
    let has = |tag: &String| input.existing.contains(tag);
    match again(plan).into_iter().chain(default_branch(input)).chain(latest(input)).find(has) {
        Some(tag) => vec![tag],
        None => newest_release(input).map_or_else(|| last(input.existing), |tag| vec![tag]),
    }
}

/// The tags that are put, those of the index first.
fn again(plan: Option<&TagPlan>) -> Vec<String> {
    let planned = || plan.iter().flat_map(|plan| &plan.tags);
    let index = planned().filter(|planned| planned.target == TagTarget::Index);
    let images = planned().filter(|planned| planned.target != TagTarget::Index);
    index.chain(images).map(|planned| planned.tag.clone()).collect()
}

/// What pushes of the default branch are configured to get: `TEXT@BRANCH`, or what `{branch}` becomes.
fn default_branch(input: &TagPlanInput<'_>) -> Vec<String> {
    let of_branch = |template: &TagTemplate, name: &str| {
        template.clone().with_suffix(input.suffix).expand(&Version::Branch(name.to_owned()), None)
    };
    let all = |template: &TagTemplate| -> Vec<String> {
        template.branches.iter().filter_map(|branch| of_branch(template, branch)).collect()
    };
    let named = input.templates.iter().flat_map(all);
    let open = input
        .templates
        .iter()
        .filter(|template| template.kind() == TemplateKind::Branch && template.branches.is_empty());
    let usual = open.flat_map(|template| DEFAULT_BRANCHES.map(|name| of_branch(template, name))).flatten();
    named.chain(usual).collect()
}

fn latest(input: &TagPlanInput<'_>) -> [String; 2] {
    // Another environment of the workspace has layers in common, too.
    [tag_text(&format!("latest{}", input.suffix)), "latest".to_owned()]
}

fn newest_release(input: &TagPlanInput<'_>) -> Option<String> {
    let release = |tag: &String| release_of_tag(without_suffix(tag, input.suffix), input.scheme);
    let releases = input.existing.iter().filter_map(|tag| Some((release(tag)?, tag)));
    releases.max_by(|a, b| a.0.order(&b.0)).map(|(_, tag)| tag.clone())
}

/// Registries list tags by name or by age: the last ones have the best chance to be new.
fn last(existing: &[String]) -> Vec<String> {
    existing.iter().rev().filter(|tag| !is_staging_tag(tag)).take(MOST).cloned().collect()
}
