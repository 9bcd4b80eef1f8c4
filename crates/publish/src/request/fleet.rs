//! Several workspaces in one run.

use std::collections::BTreeMap;

use crate::{error::PublishError, request::PublishRequest};

/// Refuses workspaces that would take each other's tags away. It is asked before the first of them is published.
///
/// # Errors
///
/// [`PublishError::SharedTag`]. What else is wrong with a workspace is said when its turn comes.
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
        for repository in &settings.repositories {
            for tag in &tags {
                let place = (repository.to_string(), tag.clone());
                if let Some(first) = taken.insert(place, workspace.clone()) {
                    return Err(PublishError::SharedTag {
                        first,
                        second: workspace.clone(),
                        repository: repository.to_string(),
                        tag: tag.clone(),
                    });
                }
            }
        }
    }
    Ok(())
}
