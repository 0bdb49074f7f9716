//! How an image was made (`ImageHistory`).

use arca_types::{ImageId, Platform, Timestamp};

use crate::error::Error;
use crate::images::Images;
use crate::resolve::repo_tags;

/// One step, the last first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryItem {
    /// The image as it was after this step, where it is here; `<missing>` on the wire otherwise.
    pub id: Option<ImageId>,
    /// When.
    pub created: Option<Timestamp>,
    /// By which instruction.
    pub created_by: String,
    /// The names of that image.
    pub tags: Option<Vec<String>>,
    /// Bytes of the layer when unpacked.
    pub size: u64,
    /// A comment.
    pub comment: String,
}

impl Images {
    /// Returns how an image was made, the last step first.
    ///
    /// # Errors
    /// As [`resolve`](Self::resolve).
    pub async fn history(
        &self,
        name: &str,
        platform: Option<&Platform>,
    ) -> Result<Vec<HistoryItem>, Error> {
        let index = self.index();
        let entry = index.find(name, platform)?;
        let config = self.config(&entry).await?;
        let mut sizes = entry.record.layers.iter().map(|layer| layer.size);
        let mut items: Vec<HistoryItem> = config
            .history
            .iter()
            .map(|step| HistoryItem {
                id: None,
                created: step.created,
                created_by: step.created_by.clone(),
                tags: None,
                size: if step.empty_layer {
                    0
                } else {
                    sizes.next().unwrap_or(0)
                },
                comment: step.comment.clone(),
            })
            .collect();
        items.reverse();
        // The image itself stands at the last step, the images it was made from at those before.
        let mut image = Some(entry);
        for item in &mut items {
            let Some(current) = image else { break };
            item.id = Some(current.id.clone());
            let names = index.names_of(&current.id);
            let tags = repo_tags(names.iter().map(AsRef::as_ref));
            item.tags = (!tags.is_empty()).then_some(tags);
            image = current
                .record
                .parent
                .as_ref()
                .and_then(|id| index.images.get(id))
                .cloned();
        }
        Ok(items)
    }
}
