"""Experiment `architectures`: how much of the DNN's accuracy do DGN and DLGN recover?"""
