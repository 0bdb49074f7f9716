FROM Bad:::name
