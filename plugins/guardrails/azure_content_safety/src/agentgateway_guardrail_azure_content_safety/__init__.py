"""The guard `azureContentSafety`: Azure AI Content Safety looks for harm and for jailbreaks."""
