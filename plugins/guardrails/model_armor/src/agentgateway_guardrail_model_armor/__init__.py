"""The guard `googleModelArmor`: refuses what a template of Google's Model Armor matches."""
