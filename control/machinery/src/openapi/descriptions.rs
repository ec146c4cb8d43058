//! What is said of the fields that objects of all kinds have, in the documents that clients explain kinds by.

/// A field of every object.
pub(super) fn of_object(field: &str) -> Option<&'static str> {
    Some(match field {
        "apiVersion" => {
            "APIVersion defines the version of the schema that this object is written in. A server turns the schemas that it \
             knows into its own, and may refuse others."
        }
        "kind" => {
            "Kind says which resource this object stands for, in CamelCase. A server may take it from where the object is \
             sent to. It cannot be changed."
        }
        "metadata" => "Standard object's metadata.",
        _ => return None,
    })
}

/// A field of the metadata of every object.
pub(super) fn of_metadata(field: &str) -> Option<&'static str> {
    Some(match field {
        "annotations" => {
            "Annotations are keys and values that tools keep with the object. Objects are not selected by them."
        }
        "creationTimestamp" => {
            "CreationTimestamp is a timestamp of when the server stored the object first. Clients cannot set it."
        }
        "deletionGracePeriodSeconds" => {
            "How many seconds the object has to end in before it is removed. Set once it is deleted, and only made shorter."
        }
        "deletionTimestamp" => {
            "DeletionTimestamp is when the object is to be gone. The server sets it when the object is deleted; the object \
             stays until its finalizers are gone."
        }
        "finalizers" => {
            "Finalizers name those who have something to do before the object may go. While one is left, it stays."
        }
        "generateName" => {
            "GenerateName is what the name begins with that the server makes up where no name is given."
        }
        "generation" => "Generation counts the changes of what is asked for. The server sets it.",
        "labels" => "Labels are keys and values by which objects are put in groups and selected.",
        "managedFields" => "ManagedFields tell who set which fields. The server keeps them.",
        "name" => "Name tells the object from others of its kind in its namespace. It cannot be changed.",
        "namespace" => {
            "Namespace is the space in which the name is the object's own. Objects of some kinds are in none. It cannot be \
             changed."
        }
        "ownerReferences" => {
            "OwnerReferences name the objects that this one depends on. When the last of them is gone, this one goes."
        }
        "resourceVersion" => {
            "ResourceVersion changes whenever the object does. Clients compare it, and give it back, as it is."
        }
        "selfLink" => "SelfLink is no longer set.",
        "uid" => {
            "UID tells the object from all others that there were, also those of its name. The server sets it."
        }
        _ => return None,
    })
}
