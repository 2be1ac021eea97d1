"""Where weights come from: files and folders, hubs, networks in memory, and what comes with the package."""
