//! What must not get the same tag in one run: several workspaces, images and SIFs.

use std::collections::BTreeMap;

use crate::{
    error::PublishError,
    request::{PublishRequest, target::PublishTarget},
    tags::TagPlan,
};

/// Refuses workspaces that would take each other's tags away. It is asked before the first of them is published. What else
/// is wrong with a workspace is said when its turn comes.
pub fn check_apart<'a>(requests: impl IntoIterator<Item = &'a PublishRequest>) -> Result<(), PublishError> {
    let mut taken = BTreeMap::new();
    for request in requests {
        let settings = &request.settings;
        let workspace = settings.workspace.clone().unwrap_or_default();
        let tags: Vec<String> = if request.tags.is_empty() {
            settings.templates.iter().map(|tag| format!("{}{}", tag.as_str(), settings.suffix)).collect()
        } else {
            request.tags.clone()
        };
        for target in &settings.targets {
            // One tag that is said for all of them counts once.
            let mut named: Vec<String> = tags.iter().map(|tag| target.form.named(tag)).collect();
            named.dedup();
            for tag in named {
                let place = (target.repository.to_string(), tag.clone());
                if let Some(first) = taken.insert(place, workspace.clone()) {
                    return Err(PublishError::SharedTag {
                        first,
                        second: workspace.clone(),
                        repository: target.repository.to_string(),
                        tag,
                    });
                }
            }
        }
    }
    Ok(())
}

/// Refuses images and SIFs of one run that would take each other's tags away.
pub fn check_forms_apart(plans: &[(&PublishTarget, TagPlan)]) -> Result<(), PublishError> {
    let mut taken = BTreeMap::new();
    for (target, plan) in plans {
        for planned in &plan.tags {
            if taken.insert((&target.repository, &planned.tag), target).is_some() {
                let (repository, tag) = (target.repository.to_string(), planned.tag.clone());
                return Err(PublishError::SharedByForms { repository, tag });
            }
        }
    }
    Ok(())
}
